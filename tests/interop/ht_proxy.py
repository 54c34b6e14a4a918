"""HtProxy: files kept in hash tables behind XML-RPC, as the homework's client sees them.

The master has a dict of attributes under every path; its "contents" is the URL of the chunk
server that has the contents, under the same path. One source for Python 2.7 and Python 3.

Dialects, which say how byte strings travel:
    string   as <string> where the text survives XML, else as <base64>
    binary   always as <base64> (xmlrpc's Binary), as the homework does
Forms of contents at the chunk server:
    raw      the bytes of the file; lists of names (of directories) are pickled all the same
    pickled  a pickle of the bytes or of the list
"""

import pickle
import re
import ssl
import sys

try:
    import xmlrpc.client as xmlrpc_client
except ImportError:
    import xmlrpclib as xmlrpc_client

PYTHON_2 = sys.version_info[0] == 2
TEXT = type(u"")
DEFAULT_TTL = 10000

# XML 1.0 has no control characters, and its parsers turn a carriage return into a line feed.
NOT_IN_XML = re.compile(u"[\x00-\x08\x0b-\x1f\ufffe\uffff]")


def connect(url, ca_file, **options):
    """A proxy of the server at an https URL, whose certificate must be the one in ca_file."""
    context = ssl.create_default_context(cafile=ca_file)
    return xmlrpc_client.ServerProxy(url, context=context, **options)


def native(value):
    """Text or UTF-8 bytes as the type that this Python calls str."""
    if isinstance(value, TEXT):
        return value.encode("utf-8") if PYTHON_2 else value
    return value if PYTHON_2 else value.decode("utf-8")


def to_bytes(text, encoding):
    """The bytes of a value that came as text; bytes stay as they are."""
    return text.encode(encoding) if isinstance(text, TEXT) else text


def unpickle(data):
    """Reads a pickle of any Python.

    Byte strings that Python 2 pickled come out as bytes: only the caller knows which of them
    are text.
    """
    return pickle.loads(data) if PYTHON_2 else pickle.loads(data, encoding="bytes")


def load_attributes(data):
    """The dict of attributes in a pickle of any Python, with native strings as its keys."""
    attributes = dict((native(name), value) for name, value in unpickle(data).items())
    attributes["contents"] = native(attributes["contents"])
    extended = attributes.get("attrs", {})
    attributes["attrs"] = dict((native(name), value) for name, value in extended.items())
    return attributes


class HtProxy(object):
    """Files by path: dicts of attributes whose "contents" is bytes or a list of paths."""

    def __init__(self, master, ca_file, dialect="string", contents="raw", protocol=None,
                 ttl=DEFAULT_TTL):
        self.ca_file = ca_file
        self.master = connect(master, ca_file)
        self.servers = {}
        self.dialect = dialect
        self.form = contents
        # Python 2 reads no protocol above 2.
        self.protocol = protocol if protocol is not None else 0 if dialect == "string" else 2
        self.ttl = ttl

    # What travels.

    def wrap(self, data, encoding):
        """Bytes as the value that carries them; in the string dialect they may be this text."""
        if self.dialect == "string":
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                return xmlrpc_client.Binary(data)
            if not NOT_IN_XML.search(text):
                return text
        return xmlrpc_client.Binary(data)

    def unwrap(self, value, encoding):
        """The bytes in a value, whichever dialect wrote it."""
        if isinstance(value, xmlrpc_client.Binary):
            return value.data
        return to_bytes(value, encoding)

    def key(self, path):
        """A path as a key."""
        return self.wrap(to_bytes(path, "utf-8"), "utf-8")

    def dump(self, value):
        """A pickle of a value. Protocol 0 is text of Latin-1: so the string dialect sends it."""
        return self.wrap(pickle.dumps(value, self.protocol), "latin-1")

    def dump_contents(self, contents):
        """Contents (bytes, or the list of a directory) as the value at the chunk server."""
        if self.form == "raw" and not isinstance(contents, list):
            return self.wrap(contents, "utf-8")
        return self.dump(contents)

    def load_contents(self, value, is_list):
        """What dump_contents made a value of."""
        if self.form == "raw" and not is_list:
            return self.unwrap(value, "utf-8")
        contents = unpickle(self.unwrap(value, "latin-1"))
        return [native(path) for path in contents] if is_list else contents

    # The calls.

    def server(self, url):
        """The chunk server with this name."""
        if url not in self.servers:
            self.servers[url] = connect(url, self.ca_file)
        return self.servers[url]

    def attributes(self, path):
        """The dict of attributes under a path, or None; "contents" is the server's URL."""
        entry = self.master.get(self.key(path))
        return load_attributes(self.unwrap(entry["value"], "latin-1")) if entry else None

    def get(self, path, is_list=False):
        """The dict of attributes with the contents, or None."""
        attributes = self.attributes(path)
        if attributes is None:
            return None
        entry = self.server(attributes["contents"]).get(self.key(path))
        if not entry:
            return None
        attributes["contents"] = self.load_contents(entry["value"], is_list)
        return attributes

    def put(self, path, file, ttl=None):
        """Stores a dict of attributes with its contents."""
        ttl = self.ttl if ttl is None else ttl
        key = self.key(path)
        known = self.attributes(path)
        server = known["contents"] if known else self.master.getServer()
        if not server:
            raise IOError("the master knows no chunk server")
        self.server(server).put(key, self.dump_contents(file["contents"]), ttl)
        self.master.changeSize(key, server, file.get("st_size", 0))
        self.master.put(key, self.dump(dict(file, contents=server)), ttl)

    def put_attributes(self, path, attributes):
        """Stores attributes alone, as attributes() gave them: the size must not have changed."""
        self.master.put(self.key(path), self.dump(attributes), self.ttl)

    def delete(self, path):
        """Deletes a file, which is a put that expires at once and leaves no size behind."""
        if self.attributes(path) is not None:
            self.put(path, {"contents": b"", "st_size": 0}, ttl=0)
