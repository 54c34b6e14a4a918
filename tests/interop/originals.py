"""Mounts one of the original programs' file systems with fusepy (which needs libfuse 2).

    originals.py <mountpoint> --master URL --ca FILE [--shape S] [--level L] ...

originals_tables.py says what the shapes are, originals_memory.py what the operations call. One
source for Python 2.7 and Python 3.
"""

from __future__ import print_function

import argparse
import os

from ht_proxy import DEFAULT_TTL, native
from originals_memory import Memory, fuse
from originals_tables import Gfs, HashedTables, OneTable, SplitTable, TwoCopies, Wire

SHAPES = {"one-table": OneTable, "hashed": HashedTables, "split": SplitTable, "gfs": Gfs,
          "two-copies": TwoCopies}


def program_options():
    """What tells one original program from another."""
    options = argparse.ArgumentParser(add_help=False)
    add = options.add_argument
    add("--master", default="https://localhost:8443", help="URL of the master, or of the table")
    add("--servers", help="URLs of the tables, or of the chunk servers, with commas between")
    add("--ca", help="certificate to trust, if SSL_CERT_FILE does not say it")
    add("--shape", choices=sorted(SHAPES), default="gfs")
    add("--level", choices=("one", "flat", "tree"), default="one")
    add("--dialect", choices=("string", "binary"), default="binary")
    add("--contents", choices=("raw", "pickled", "array"), default="pickled",
        help="array: as they are in the program")
    add("--lists", choices=("pickled", "array", "array-of-binary"), default="pickled")
    add("--delete", choices=("master", "both"), default="master", help="where a delete goes")
    add("--look", choices=("dict", "list"), default="dict", help="where getattr looks first")
    add("--append", choices=("always", "checked"), default="always", help="in a rename")
    add("--names", choices=("native", "unicode"), default="native")
    add("--new-proxies", choices=("none", "chunks", "all"), default="none",
        help="which servers get a new ServerProxy for each call")
    add("--ttl", type=int, default=DEFAULT_TTL, help="seconds")
    return options


def make_files(args):
    """The member of the HtProxy family that the options ask for."""
    if args.ca:
        # What a person sets in the shell; Python looks when it makes a connection.
        os.environ["SSL_CERT_FILE"] = args.ca
    wire = Wire(args.dialect, args.contents, args.lists, args.level == "tree", args.new_proxies)
    servers = native(args.servers).split(",") if args.servers else []
    if args.shape == "gfs":
        return Gfs(wire, [args.master], args.ttl, args.delete)
    if args.shape == "two-copies":
        return TwoCopies(wire, [args.master] + servers, args.ttl, args.delete)
    return SHAPES[args.shape](wire, servers or [args.master], args.ttl)


def make_memory(args):
    """The whole program."""
    return Memory(make_files(args), args.level, args.look, args.append, args.names)


def main():
    parser = argparse.ArgumentParser(description="mounts the hash tables",
                                     parents=[program_options()])
    parser.add_argument("mountpoint")
    args = parser.parse_args()
    if fuse is None:
        raise SystemExit("originals.py needs fusepy (pip install fusepy) and libfuse 2")
    # Single-threaded: a ServerProxy has one connection. The kernel asks again for every attribute,
    # as other clients change them.
    fuse.FUSE(make_memory(args), args.mountpoint, foreground=True, nothreads=True,
              attr_timeout=0, entry_timeout=0)


if __name__ == "__main__":
    main()
