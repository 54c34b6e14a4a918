"""What the interop tests ask of a Python client, without a mount.

    matrix_client.py write <directory> <prefix>    stores each file of a directory as /<prefix><name>
    matrix_client.py check <directory> <prefix>... compares; says what differs and fails
    matrix_client.py list                          prints the names in the root, one per line
    matrix_client.py delete <directory> <prefix>   deletes them again
    matrix_client.py write-text <path> <text>      stores contents that are text, not bytes
    matrix_client.py write-root <path>...          puts names of any depth into the root's list
    matrix_client.py types <path>                  prints how the values under a path look to a
                                                   program that knows nothing of other dialects

One source for Python 2.7 and Python 3.
"""

from __future__ import print_function

import argparse
import json
import os
import pickle
import stat
import sys

from ht_proxy import PYTHON_2, TEXT, to_bytes, xmlrpc_client
from memory import Memory, make_proxy, proxy_options


def files_in(prefix, directory):
    """The path and the local file of each file in a directory."""
    directory = to_bytes(directory, "utf-8")
    for name in sorted(os.listdir(directory)):
        yield u"/" + prefix + name.decode("utf-8"), os.path.join(directory, name)


def contents_of(file_name):
    with open(file_name, "rb") as file:
        return file.read()


def write(memory, directory, prefix):
    """Creates files and writes them, as the mount would: with one write each."""
    for path, local in files_in(prefix, directory):
        fh = memory.create(path, 0o640)
        contents = contents_of(local)
        if contents:
            memory.write(path, contents, 0, fh)
        memory.release(path, fh)


def check(memory, directory, *prefixes):
    """Compares names, attributes and contents with the files of a directory, prefix by prefix."""
    names = memory.readdir(u"/")
    failures = []
    for prefix in prefixes:
        try:
            check_files(memory, names, prefix, directory)
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "; ".join(failures)


def check_files(memory, names, prefix, directory):
    """The same for one prefix, given the names in the root."""
    for path, local in files_in(prefix, directory):
        expected = contents_of(local)
        assert path[1:] in names, "%r is not among the names %r" % (path, names)
        file = memory.proxy.get(path)
        assert file is not None, "%r: its attributes or contents are not there" % (path,)
        contents = file.pop("contents")
        assert stat.S_ISREG(file["st_mode"]), "%r: not a file: %r" % (path, file)
        assert file["st_size"] == len(expected), "%r: %r" % (path, file)
        assert isinstance(contents, bytes), "%r: contents are %r" % (path, type(contents))
        assert contents == expected, "%r: %d bytes, not the %d expected: %r" % (
            path, len(contents), len(expected), contents[:80])


def delete(memory, directory, prefix):
    """Deletes the files, each of which must be there."""
    for path, _ in files_in(prefix, directory):
        memory.unlink(path)


def write_text(memory, path, text):
    """Stores a file whose contents Python 3 pickles as str, which a careless program does."""
    memory.create(path, 0o644)
    file = dict(memory.attributes(path), contents=text, st_size=len(text.encode("utf-8")))
    memory.proxy.put(path, file)


def write_root(memory, *paths):
    """Makes files that only the root's list names: the homework's one list for all names."""
    root = memory.names(u"/")
    for path in paths:
        mode = stat.S_IFDIR | 0o755 if path.endswith("/") else stat.S_IFREG | 0o644
        path = path.rstrip("/")
        memory.proxy.put(path, dict(memory.new_attributes(mode), contents=b""))
        root["contents"].append(path)
    memory.proxy.put(u"/", root)


def naive_value(value):
    """The kind of a value on the wire, and its bytes as a program of one dialect takes them."""
    if isinstance(value, xmlrpc_client.Binary):
        return "base64", value.data
    data = value.encode("latin-1") if isinstance(value, TEXT) else value
    return "string", data


def types(proxy, path):
    """Unpickles without any option, as the homework's programs do, and tells the types."""
    wire, data = naive_value(proxy.master.get(proxy.key(path))["value"])
    attributes = pickle.loads(data)
    seen = dict((str(name), type(value).__name__) for name, value in attributes.items())
    seen["keys"] = sorted(set(type(name).__name__ for name in attributes))
    seen["wire"] = wire
    held = proxy.server(attributes["contents"]).get(proxy.key(path))["value"]
    seen["held"], data = naive_value(held)
    if proxy.form == "pickled" or stat.S_ISDIR(attributes["st_mode"]):
        contents = pickle.loads(data)
        seen["unpickled"] = type(contents).__name__
        if isinstance(contents, list):
            # Python 2 takes both of its strings for a name, Python 3 only text.
            seen["names"] = [name if isinstance(name, TEXT) or not PYTHON_2
                             else name.decode("utf-8") for name in contents]
    print(json.dumps(seen, sort_keys=True))


def main():
    parser = argparse.ArgumentParser(description="one step of an interop test",
                                     parents=[proxy_options()])
    steps = {"write": write, "check": check, "delete": delete, "write-text": write_text,
             "write-root": write_root}
    parser.add_argument("step", choices=sorted(steps) + ["list", "types"])
    parser.add_argument("arguments", nargs="*")
    args = parser.parse_args()
    given = [value.decode("utf-8") if PYTHON_2 else value for value in args.arguments]
    proxy = make_proxy(args)
    if args.step == "types":
        types(proxy, *given)
    elif args.step == "list":
        for name in Memory(proxy).readdir(u"/"):
            getattr(sys.stdout, "buffer", sys.stdout).write(name.encode("utf-8") + b"\n")
    else:
        steps[args.step](Memory(proxy), *given)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        sys.exit("matrix_client.py: %s" % failure)
