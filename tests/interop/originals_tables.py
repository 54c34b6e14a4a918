"""The HtProxy family: files in hash tables behind XML-RPC, each a dict by path.

Each class is a shape of program that was written for the original servers, and makes its calls in
the order in which those programs make them. ServerProxy is made with a URL and nothing else:
SSL_CERT_FILE says what to trust. One source for Python 2.7 and Python 3.

    OneTable     one table; a dict of attributes with the contents in it
    HashedTables several such tables; the path says which
    SplitTable   one table; attributes under the path, contents under another key
    Gfs          attributes at the master, contents at the chunk server that they name
    TwoCopies    the same with the contents at two chunk servers, which the attributes name
"""

import pickle
import stat
import zlib

from ht_proxy import DEFAULT_TTL, PYTHON_2, to_bytes, xmlrpc_client


class Wire(object):
    """How a program speaks: its dialect, its forms of contents, and how long proxies live."""

    def __init__(self, dialect="binary", contents="pickled", lists="pickled", tree=False,
                 new_proxies="none"):
        self.binary = dialect == "binary"
        self.contents = contents
        self.lists = lists
        self.tree = tree
        self.new_proxies = new_proxies
        self.proxies = {}

    def proxy(self, url, is_chunk=False):
        """The server with this URL."""
        kept = self.new_proxies == "none" or (self.new_proxies == "chunks" and not is_chunk)
        if not kept:
            return xmlrpc_client.ServerProxy(url)
        if url not in self.proxies:
            self.proxies[url] = xmlrpc_client.ServerProxy(url)
        return self.proxies[url]

    def wrap(self, data, encoding="latin-1"):
        """Bytes as a value. Python 2 takes any str for text, Python 3 needs an encoding."""
        if self.binary:
            return xmlrpc_client.Binary(data)
        return data if PYTHON_2 else data.decode(encoding)

    def unwrap(self, value, encoding="latin-1"):
        """What wrap made a value of; in Python 2 text outside ASCII comes as unicode."""
        if isinstance(value, xmlrpc_client.Binary):
            return value.data
        return value if PYTHON_2 else to_bytes(value, encoding)

    def key(self, path):
        """A path as a key."""
        return xmlrpc_client.Binary(to_bytes(path, "utf-8")) if self.binary else path

    def dump(self, value):
        """A pickle of a value; in the string dialect it must be text."""
        if self.binary:
            return self.wrap(pickle.dumps(value))
        return self.wrap(pickle.dumps(value, 0))

    def load(self, value):
        """What dump made a value of, read without any precaution."""
        return pickle.loads(self.unwrap(value))

    def has_list(self, path, attributes):
        """Whether the contents of a path are a list of paths."""
        return path == "/" or (self.tree and stat.S_ISDIR(attributes["st_mode"]))

    def dump_contents(self, contents):
        """Contents, or the list of a directory, as the value at a chunk server."""
        form = self.lists if isinstance(contents, list) else self.contents
        if form == "pickled":
            return self.dump(contents)
        if form == "array":
            return contents
        if form == "array-of-binary":
            return [xmlrpc_client.Binary(to_bytes(path, "utf-8")) for path in contents]
        return self.wrap(contents, "utf-8")

    def load_contents(self, value, is_list):
        """What dump_contents made a value of."""
        form = self.lists if is_list else self.contents
        if form == "pickled":
            return self.load(value)
        if form == "array":
            # Python 3 sends bytes as Binary, whatever the dialect.
            return value.data if isinstance(value, xmlrpc_client.Binary) else value
        if form == "array-of-binary":
            return [path.data if PYTHON_2 else path.data.decode("utf-8") for path in value]
        return self.unwrap(value, "utf-8")


class OneTable(object):
    """Everything in one table: a pickled dict of attributes, with the contents in it."""

    def __init__(self, wire, urls, ttl=DEFAULT_TTL):
        self.wire = wire
        self.urls = urls
        self.ttl = ttl

    def url(self, path):
        """The server that has a path."""
        return self.urls[0]

    def get(self, url, key):
        """The value under a key as it came, or None."""
        return self.wire.proxy(url).get(self.wire.key(key)).get("value")

    def put(self, url, key, value, ttl=None):
        """Stores a value as it goes."""
        ttl = self.ttl if ttl is None else ttl
        return self.wire.proxy(url).put(self.wire.key(key), value, ttl)

    def __contains__(self, path):
        return self.get(self.url(path), path) is not None

    def __getitem__(self, path):
        value = self.get(self.url(path), path)
        if value is None:
            raise KeyError(path)
        return self.wire.load(value)

    def __setitem__(self, path, file):
        self.put(self.url(path), path, self.wire.dump(file))

    def __delitem__(self, path):
        self.put(self.url(path), path, self.wire.wrap(b""), 0)

    def values(self, path):
        """Every value on a server that belongs to a path: its place, URL and key."""
        return [("table", self.url(path), path)]


class HashedTables(OneTable):
    """Several tables, of which the path chooses one."""

    def url(self, path):
        return self.urls[(zlib.crc32(to_bytes(path, "utf-8")) & 0xffffffff) % len(self.urls)]


class SplitTable(OneTable):
    """Attributes without contents under the path, and contents under a key of their own."""

    @staticmethod
    def contents_key(path):
        """The key of the contents."""
        return path + "&&contents"

    def __getitem__(self, path):
        file = OneTable.__getitem__(self, path)
        value = self.get(self.url(path), self.contents_key(path))
        if value is not None:
            file["contents"] = self.wire.load(value)
        return file

    def __setitem__(self, path, file):
        file = dict(file)
        contents = file.pop("contents", None)
        OneTable.__setitem__(self, path, file)
        if contents is not None:
            self.put(self.url(path), self.contents_key(path), self.wire.dump(contents))

    def __delitem__(self, path):
        OneTable.__delitem__(self, path)
        OneTable.__delitem__(self, self.contents_key(path))

    def values(self, path):
        return [("table", self.url(path), path),
                ("table", self.url(path), self.contents_key(path))]


class Gfs(OneTable):
    """Attributes at the master; their "contents" is the URL of the chunk server."""

    def __init__(self, wire, urls, ttl=DEFAULT_TTL, delete="master"):
        OneTable.__init__(self, wire, urls, ttl)
        self.delete = delete

    def chunk(self, url):
        """A chunk server."""
        return self.wire.proxy(url, is_chunk=True)

    def attributes(self, path):
        """The dict at the master, or None."""
        value = self.get(self.url(path), path)
        return None if value is None else self.wire.load(value)

    def server_for(self, path):
        """Where the contents of a path are, or are to go."""
        known = self.attributes(path)
        return known["contents"] if known else self.wire.proxy(self.url(path)).getServer()

    def __getitem__(self, path):
        file = self.attributes(path)
        if file is None:
            raise KeyError(path)
        entry = self.chunk(file["contents"]).get(self.wire.key(path))
        if not entry:
            raise KeyError(path)
        file["contents"] = self.wire.load_contents(entry["value"], self.wire.has_list(path, file))
        return file

    def __setitem__(self, path, file):
        self.store(path, file, self.wire.dump_contents(file["contents"]), self.ttl)

    def store(self, path, file, contents, ttl):
        """The calls of a put."""
        key = self.wire.key(path)
        server = self.server_for(path)
        self.chunk(server).put(key, contents, ttl)
        self.wire.proxy(self.url(path)).changeSize(key, server, file.get("st_size", 0))
        self.put(self.url(path), path, self.wire.dump(dict(file, contents=server)), ttl)

    def __delitem__(self, path):
        if self.delete == "both":
            self.store(path, {}, self.wire.wrap(b""), 0)
        else:
            OneTable.__delitem__(self, path)

    def values(self, path):
        chunks = self.servers_of(self.attributes(path) or {})
        return [("master", self.url(path), path)] + [("chunk", url, path) for url in chunks]

    @staticmethod
    def servers_of(attributes):
        """The chunk servers that a dict names."""
        return [attributes["contents"]] if attributes.get("contents") else []


class TwoCopies(Gfs):
    """The contents at two chunk servers; "contents" is the list of their URLs."""

    def __init__(self, wire, urls, ttl=DEFAULT_TTL, delete="master"):
        Gfs.__init__(self, wire, urls[:1], ttl, delete)
        self.chunks = urls[1:]

    def servers_for(self, path):
        """Both servers of a path: the master's choice, and the next one."""
        known = self.attributes(path)
        if known:
            return known["contents"]
        first = self.wire.proxy(self.url(path)).getServer()
        at = self.chunks.index(first)
        return [first, self.chunks[(at + 1) % len(self.chunks)]]

    def __getitem__(self, path):
        file = self.attributes(path)
        if file is None:
            raise KeyError(path)
        for server in file["contents"]:
            entry = self.chunk(server).get(self.wire.key(path))
            if entry:
                value = entry["value"]
                file["contents"] = self.wire.load_contents(value, self.wire.has_list(path, file))
                return file
        raise KeyError(path)

    def store(self, path, file, contents, ttl):
        key = self.wire.key(path)
        servers = self.servers_for(path)
        for server in servers:
            self.chunk(server).put(key, contents, ttl)
            self.wire.proxy(self.url(path)).changeSize(key, server, file.get("st_size", 0))
        self.put(self.url(path), path, self.wire.dump(dict(file, contents=servers)), ttl)

    @staticmethod
    def servers_of(attributes):
        return attributes.get("contents") or []
