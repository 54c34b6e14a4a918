"""The original's two servers: SimpleHT behind Python's own XML-RPC server, inside TLS.

    simpleht_server.py master [port]
    simpleht_server.py chunk <port> [--master URL]

With --keys string the table's keys are what came, as in the originals that were written for text:
a Binary cannot be one. With --keys binary they are the bytes in a Binary, which nothing else has.

One thread, HTTP/1.0, a connection per call: what SimpleXMLRPCServer does when nobody says
otherwise. Port 0 is a free port. One source for Python 2.7 and Python 3.
"""

from __future__ import print_function

import argparse
import os
import pickle
import ssl
import sys
import time
from datetime import datetime

from ht_proxy import (NOT_IN_XML, PYTHON_2, TEXT, connect, load_attributes, native, to_bytes,
                      xmlrpc_client)

try:
    from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer
except ImportError:
    from SimpleXMLRPCServer import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

SWEEP_PERIOD = 300


def any_key(key):
    """The bytes of a key, however it was sent; a number is what it is."""
    return key.data if isinstance(key, xmlrpc_client.Binary) else to_bytes(key, "utf-8")


# What becomes the key in the table, by the option --keys.
KEYS = {"both": any_key, "string": lambda key: key, "binary": lambda key: key.data}


class Either(object):
    """A str of Python 2 from a dump, which does not say whether it came as text or as Binary."""

    def __init__(self, data):
        self.data = data

    def asked_with(self, key):
        """The value as the type that the asking program has for its keys, if it is text."""
        if not isinstance(key, xmlrpc_client.Binary):
            try:
                text = self.data.decode("utf-8")
            except UnicodeDecodeError:
                text = u"\0"
            if not NOT_IN_XML.search(text):
                return text
        return xmlrpc_client.Binary(self.data)


def dumped(value):
    """A value as it is in a dump: plain data, and no classes of xmlrpc."""
    if isinstance(value, (xmlrpc_client.Binary, Either)):
        return value.data
    if isinstance(value, xmlrpc_client.DateTime):
        return datetime.strptime(value.value, "%Y%m%dT%H:%M:%S")
    if isinstance(value, list):
        return [dumped(item) for item in value]
    if isinstance(value, dict):
        return dict((name, dumped(item)) for name, item in value.items())
    return value


def loaded(value, is_top=True):
    """The value that is so in a dump."""
    if isinstance(value, bytes) and not PYTHON_2:
        return xmlrpc_client.Binary(value)
    if isinstance(value, bytes) and is_top:
        return Either(value)
    if isinstance(value, list):
        return [loaded(item, False) for item in value]
    if isinstance(value, dict):
        return dict((name, loaded(item, False)) for name, item in value.items())
    return value


def to_seconds(date):
    """A naive local date as seconds since 1970."""
    return time.mktime(date.timetuple()) + date.microsecond / 1e6


class SimpleHT(object):
    """A hash table whose entries expire. Values come back as the type they came as."""

    def __init__(self, to_key=any_key):
        self.to_key = to_key
        self.entries = {}
        self.next_sweep = time.time() + SWEEP_PERIOD

    def get(self, key):
        """{} if there is nothing under the key, else its value and the seconds it has left."""
        self.sweep()
        entry = self.live(self.to_key(key))
        if entry is None:
            return {}
        value, expiry = entry
        if isinstance(value, Either):
            value = value.asked_with(key)
        return {"value": value, "ttl": int(expiry - time.time())}

    def put(self, key, value, ttl):
        """Stores a value for ttl seconds; 0 deletes."""
        self.sweep()
        if ttl > 0:
            self.entries[self.to_key(key)] = (value, time.time() + ttl)
        else:
            self.entries.pop(self.to_key(key), None)
        return True

    def live(self, key):
        """The entry under a key, if it has not expired; one that has is dropped."""
        entry = self.entries.get(key)
        if entry is not None and entry[1] <= time.time():
            self.drop(key)
            return None
        return entry

    def drop(self, key):
        """Removes an expired entry."""
        del self.entries[key]

    def sweep(self):
        """Drops what has expired, now and then."""
        if time.time() >= self.next_sweep:
            self.next_sweep = time.time() + SWEEP_PERIOD
            for key in list(self.entries):
                self.live(key)

    def read_file(self, name):
        """Loads the table from a file in the working directory."""
        with open(plain_name(name), "rb") as file:
            table = pickle.load(file)
        # Who has one type of keys takes them as they are in the file.
        to_key = any_key if self.to_key is any_key else KEYS["string"]
        self.entries = dict((to_key(key), (loaded(value), to_seconds(expiry)))
                            for key, (value, expiry) in table.items())
        return True

    def write_file(self, name):
        """Dumps the table into a file in the working directory, with dates for its ends."""
        table = dict((key, (dumped(value), datetime.fromtimestamp(expiry)))
                     for key, (value, expiry) in self.entries.items())
        with open(plain_name(name), "wb") as file:
            pickle.dump(table, file)
        return True

    def print_content(self):
        """Prints the table."""
        for key, (value, expiry) in sorted(self.entries.items(), key=repr):
            print(repr(key), repr(value), int(expiry - time.time()))
        sys.stdout.flush()
        return True


def plain_name(name):
    """A file name; whatever would leave the working directory is refused."""
    name = native(name.data if isinstance(name, xmlrpc_client.Binary) else name)
    name = name[2:] if name.startswith("./") else name
    if name in ("", ".", "..") or os.path.basename(name) != name:
        raise ValueError("not a plain file name: %r" % (name,))
    return name


class Master(SimpleHT):
    """The hash table of attributes, and the sizes of the chunk servers."""

    def __init__(self, to_key=any_key):
        SimpleHT.__init__(self, to_key)
        self.sizes = {}

    @staticmethod
    def file_in(value):
        """The dict of attributes in a value; an empty one if it has another value."""
        data = value.data if isinstance(value, (xmlrpc_client.Binary, Either)) else value
        try:
            return load_attributes(to_bytes(data, "latin-1"))
        except Exception:  # The table takes any value, and a pickle fails in many ways.
            return {}

    def drop(self, key):
        file = self.file_in(self.entries.pop(key)[0])
        if file.get("contents") in self.sizes:
            self.sizes[file["contents"]] -= file.get("st_size", 0)

    def getServer(self):
        """The URL of the server with the smallest size, "" if there is none."""
        return min(self.sizes, key=self.sizes.get) if self.sizes else ""

    def changeSize(self, key, server, size):
        """The file under the key, on that server, is now this large."""
        if server not in self.sizes:
            raise ValueError("unknown server: %s" % (server,))
        entry = self.live(self.to_key(key))
        before = self.file_in(entry[0]).get("st_size", 0) if entry else 0
        self.sizes[server] += size - before
        return True

    def register(self, server):
        """A chunk server announces itself."""
        self.sizes.setdefault(server, 0)
        return True

    def print_content(self):
        SimpleHT.print_content(self)
        for server, size in sorted(self.sizes.items()):
            print(server, size)
        sys.stdout.flush()
        return True


class Handler(SimpleXMLRPCRequestHandler):
    """Answers the two paths that XML-RPC clients use."""

    rpc_paths = ("/", "/RPC2")


def start(table, methods, port, args):
    """A server of some methods of a table, and its URL; it listens, but does not serve yet."""
    server = SimpleXMLRPCServer(("localhost", port), Handler, logRequests=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(args.cert, args.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.register_introspection_functions()
    server.register_multicall_functions()
    for method in methods:
        server.register_function(getattr(table, method), method)
    return server, "https://localhost:%d" % server.server_address[1]


def main():
    parser = argparse.ArgumentParser(description="a server of the original")
    parser.add_argument("role", choices=("master", "chunk"))
    parser.add_argument("port", type=int, nargs="?", default=8443)
    parser.add_argument("--master", default="https://localhost:8443", help="URL of the master")
    parser.add_argument("--cert", default="keys/cacert.pem")
    parser.add_argument("--key", default="keys/privkey.pem")
    parser.add_argument("--keys", choices=sorted(KEYS), default="both",
                        help="the type that keys must have")
    args = parser.parse_args()

    methods = ["get", "put", "read_file", "write_file", "print_content"]
    if args.role == "master":
        methods += ["getServer", "changeSize", "register"]
        server, url = start(Master(KEYS[args.keys]), methods, args.port, args)
    else:
        server, url = start(SimpleHT(KEYS[args.keys]), methods, args.port, args)
        connect(args.master, args.cert).register(url)
    print("listening on " + url)
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
