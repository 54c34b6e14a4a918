"""Tables in files, as the original pickles them, and the same entries at running servers.

    dumps.py put URL --ca FILE                   puts the entries at a server
    dumps.py get URL --ca FILE [--either KIND]   compares them
    dumps.py write FILE [--protocol N]           pickles them as the original's write_file does
    dumps.py check FILE                          reads what our server dumped as its read_file does

All entries expire LIFETIME seconds after they were put or written. --plain leaves out what Python's own
server does not answer. --either says of what, text or bytes, a str of Python 2 has been made on the
way: whoever asks for it has it as the type of his keys. One source for Python 2.7 and Python 3.
"""

from __future__ import print_function

import argparse
import pickle
import time
from datetime import datetime, timedelta

from ht_proxy import PYTHON_2, TEXT, connect, native, to_bytes, xmlrpc_client

Binary = xmlrpc_client.Binary
DateTime = xmlrpc_client.DateTime

LIFETIME = 5000
ALL_BYTES = bytes(bytearray(range(256)))

# What no server of Python answers.
NIL = {"nil": None, "nil in a list": [None]}

ENTRIES = {
    "/": "(lp0\nS'/'\np1\nS'/a'\np2\na.",
    "text": "plain text",
    "lines": "one\ntwo\t<&>' \"\\",
    "unicode": u"gr\u00fc\u00df \u20ac \U0001f600",
    "no text": "",
    u"/gr\u00fc\u00df": "a key beyond ASCII",
    "bytes": Binary(ALL_BYTES),
    "zeros": Binary(b"\0" * 100000),
    "ascii bytes": Binary(b"(dp0\n."),
    "no bytes": Binary(b""),
    "int": -7,
    "bool": True,
    "double": 0.1,
    "array": [1, "two", [3.0, []], u"\u00e4"],
    "struct": {"a": {"b": [True, {}]}, u"\u00e4": -1.5},
    "date": DateTime("19980717T14:08:55"),
    7: "a number for a key",
    1.5: "a fraction for a key",
}


def entries(args):
    """The keys and values that take part."""
    return list(ENTRIES.items()) + ([] if args.plain else list(NIL.items()))


def types_in(value):
    """The types of a value and of everything in it; Python 2 has two for text."""
    if isinstance(value, list):
        return [types_in(item) for item in value]
    if isinstance(value, dict):
        return sorted((native(name), types_in(item)) for name, item in value.items())
    return TEXT if isinstance(value, str) else type(value)


def put(args):
    server = connect(args.place, args.ca, allow_none=True)
    for key, value in entries(args):
        server.put(key, value, LIFETIME)


def get(args):
    server = connect(args.place, args.ca, allow_none=True)
    for key, value in entries(args):
        answer = server.get(key)
        assert answer, "there is nothing under %r" % (key,)
        assert LIFETIME - 600 < answer["ttl"] <= LIFETIME, (key, answer["ttl"])
        found = answer["value"]
        is_text_key = isinstance(key, (str, TEXT))
        if isinstance(value, Binary) and "bytes" in args.either:
            found = as_binary(found)
        if not is_text_key and "text" in args.either:
            # Who asks for a number has shown neither.
            found, value = as_binary(found), as_binary(value)
        assert_same(key, found, value)
        if is_text_key:
            found = server.get(as_binary(key))["value"]
            is_either = is_ascii(value) and "text" in args.either
            assert_same(key, found, as_binary(value) if is_either else value)
    for number in (0, 999, 1000, 2499):
        found = server.get("many %d" % number)
        assert bool(found) is args.many and found.get("value", str(number)) == str(number), found
    assert server.get("expired") == {}


def as_binary(value):
    """Text as Binary."""
    return value if isinstance(value, Binary) else Binary(to_bytes(value, "utf-8"))


def is_ascii(value):
    """Whether a value is text that Python 2 has as str."""
    return isinstance(value, (str, TEXT)) and all(ord(char) < 128 for char in value)


def assert_same(key, found, wanted):
    """A value is there as it was put, and so is its type."""
    assert found == wanted and types_in(found) == types_in(wanted), (key, found, wanted)


def plain(value):
    """A value as the original has it in its table."""
    if isinstance(value, Binary):
        return value.data
    if isinstance(value, DateTime):
        return datetime.strptime(value.value, "%Y%m%dT%H:%M:%S")
    return value


def write(args):
    end = datetime.now() + timedelta(seconds=LIFETIME)
    table = dict((in_table(key), (plain(value), end)) for key, value in entries(args))
    table["expired"] = ("x", datetime.now() - timedelta(seconds=1))
    # Protocols 1 and up store a thousand entries at once.
    table.update(("many %d" % number, (str(number), end)) for number in range(2500))
    with open(args.place, "wb") as file:
        pickle.dump(table, file, args.protocol)


def in_table(key):
    """A key as the original has it: str, in Python 2 the bytes of UTF-8."""
    return to_bytes(key, "utf-8") if PYTHON_2 and isinstance(key, TEXT) else key


def check(args):
    with open(args.place, "rb") as file:
        table = pickle.load(file)
    now = time.time()
    for key, value in entries(args):
        # What is no ASCII is str in Python 2 and bytes in Python 3.
        is_native = is_ascii(key) or not isinstance(key, TEXT)
        found, end = table.pop(key if is_native else to_bytes(key, "utf-8"))
        assert_same(key, found, plain(value))
        for of_ours, of_theirs in ((Binary, bytes), ((str, TEXT), TEXT), (DateTime, datetime)):
            assert not isinstance(value, of_ours) or isinstance(found, of_theirs), (key, found)
        assert type(end) is datetime and end.tzinfo is None, (key, end)
        left = time.mktime(end.timetuple()) - now
        assert LIFETIME - 600 < left <= LIFETIME, (key, end, left)
    assert not table, table


def main():
    parser = argparse.ArgumentParser(description="tables in files")
    parser.add_argument("step", choices=("put", "get", "write", "check"))
    parser.add_argument("place", help="the URL of a server, or a file")
    parser.add_argument("--ca", help="the certificate of the servers")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--either", action="append", default=[], choices=("text", "bytes"))
    parser.add_argument("--many", action="store_true", help="with those that write adds")
    parser.add_argument("--protocol", type=int, default=0)
    args = parser.parse_args()
    {"put": put, "get": get, "write": write, "check": check}[args.step](args)


if __name__ == "__main__":
    main()
