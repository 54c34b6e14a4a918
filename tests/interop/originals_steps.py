"""Some sixty steps of work on files with one of the original programs, without a mount.

    originals_steps.py --master URL --ca FILE [--shape S] [--level L] ...

Prints a line for each step, with its result or exception. The lines are the same wherever the
original servers are; times of today and URLs of servers are replaced by words. Like a kernel, a
step looks at a path before it does something with it. One source for Python 2.7 and Python 3.
"""

from __future__ import print_function

import argparse
import errno
import posixpath
import stat
import sys
import time
import zlib

from ht_proxy import PYTHON_2, TEXT, native, xmlrpc_client
from originals import make_memory, program_options

LONG = 80
NOTHING = (("st_uid", 0), ("st_gid", 0), ("attrs", {}))
ALL_BYTES = bytes(bytearray(range(256)))


class Printer(object):
    """Says what a step gave, so that two runs can be compared."""

    def __init__(self, urls, text):
        self.urls = urls
        self.text = text
        self.start = time.time()

    def show(self, value):
        """A value in one line, with its types."""
        if isinstance(value, dict):
            # Nobody's dict needs an owner, or extended attributes; to fusepy none is root.
            items = sorted((self.show(name), self.show(item)) for name, item in value.items()
                           if (name, item) not in NOTHING)
            return "{%s}" % ", ".join("%s: %s" % item for item in items)
        if isinstance(value, (list, tuple)):
            return "[%s]" % ", ".join(self.show(item) for item in value)
        if isinstance(value, xmlrpc_client.Binary):
            return "Binary(%s)" % self.show(value.data)
        if isinstance(value, (int, float)) and self.start - 2 < value < time.time() + 2:
            return "now, %s" % type(value).__name__
        if isinstance(value, (bytes, TEXT)) and len(value) > LONG:
            data = value.encode("utf-8") if isinstance(value, TEXT) else value
            return "%s of %d, %x" % (type(value).__name__, len(value), zlib.crc32(data) % 2 ** 32)
        if PYTHON_2 and self.text and isinstance(value, (bytes, TEXT)):
            # Equal to Python 2 if it is ASCII, which is all that a program can know of it.
            value = native(value)
        text = repr(value)
        for url in self.urls:
            text = text.replace(url, "SERVER")
        return text

    def step(self, label, action, *args):
        """Does something and says what came of it."""
        try:
            text = self.show(action(*args))
        except xmlrpc_client.Fault as fault:
            # The words differ from server to server.
            text = "Fault" if "--faults" not in sys.argv else repr(fault)
        except EnvironmentError as failure:
            text = errno.errorcode.get(failure.errno, repr(failure))
        except Exception as failure:
            text = "%s: %s" % (type(failure).__name__, failure)
        print("%s -> %s" % (label, text))


class Shell(object):
    """What a shell's programs do to a file system, as the kernel hands it on."""

    def __init__(self, memory):
        self.memory = memory

    def exists(self, path):
        """Whether something is there."""
        try:
            self.memory.getattr(path)
        except EnvironmentError:
            return False
        return True

    def new(self, path):
        """Fails if something is there."""
        if self.exists(path):
            raise OSError(errno.EEXIST, "exists")

    def names(self, path):
        """The names in a directory, those only that can be looked at.

        A program that always appends has a name in its list again after each rename over it. A
        person sees a name or sees it not: so they come sorted and once, unless all is compared.
        """
        self.memory.getattr(path)
        names = self.memory.readdir(path)[2:]
        paths = self.seen([posixpath.join(path, name) for name in names])
        return [posixpath.basename(name) for name in paths]

    def seen(self, value):
        """A value; if it is a list of paths, those that can be looked at."""
        if not isinstance(value, list):
            return value
        paths = [path for path in value if self.exists(path)]
        return paths if self.memory.append == "checked" else sorted(set(paths))


    def write(self, path, data):
        """data > path"""
        if self.exists(path):
            self.memory.truncate(path, 0)
            handle = self.memory.open(path, 0)
        else:
            handle = self.memory.create(path, 0o644)
        return self.memory.write(path, data, 0, handle)

    def append(self, path, data):
        """data >> path"""
        size = self.memory.getattr(path)["st_size"]
        return self.memory.write(path, data, size, self.memory.open(path, 0))

    def cat(self, path):
        size = self.memory.getattr(path)["st_size"]
        return self.memory.read(path, size + 4096, 0, self.memory.open(path, 0))

    def mv(self, old, new):
        self.memory.getattr(old)
        self.exists(new)
        return self.memory.rename(old, new)

    def rm(self, path):
        self.memory.getattr(path)
        return self.memory.unlink(path)

    def mkdir(self, path):
        self.new(path)
        return self.memory.mkdir(path, 0o755)

    def rmdir(self, path):
        self.memory.getattr(path)
        return self.memory.rmdir(path)

    def ln(self, source, path):
        self.new(path)
        return self.memory.symlink(path, source)

    def sed(self, path, old, new):
        """sed -i: a new file of the same mode beside the old one, and then in its place."""
        mode = self.memory.getattr(path)["st_mode"]
        contents = self.cat(path).replace(old, new)
        beside = posixpath.join(posixpath.dirname(path), "sedXw1zQ8")
        self.new(beside)
        handle = self.memory.create(beside, 0o600)
        self.memory.write(beside, contents, 0, handle)
        self.memory.chmod(beside, stat.S_IMODE(mode))
        return self.mv(beside, path)


def plain_files(step, shell):
    """Creating, writing and reading."""
    memory = shell.memory
    step("ls /", shell.names, "/")
    step("stat /", memory.getattr, "/")
    step("stat a", memory.getattr, "/a")
    step("create a", memory.create, "/a", 0o640)
    step("stat a", memory.getattr, "/a")
    step("cat a", shell.cat, "/a")
    step("write a", shell.write, "/a", b"hello world\n")
    step("append a", shell.append, "/a", b"again\n")
    step("overwrite a", memory.write, "/a", b"HELLO", 0, 1)
    step("cat a", shell.cat, "/a")
    step("read a in the middle", memory.read, "/a", 5, 6, 1)
    step("write beyond the end of a", memory.write, "/a", b"end", 20, 1)
    step("stat a", memory.getattr, "/a")
    step("write a with spaces", shell.write, "/a name with spaces", b"spaces\n")
    step("ls /", shell.names, "/")
    step("write more than once", lambda: [shell.append("/a", b"%d" % n) for n in range(5)])
    step("write a anew", shell.write, "/a", b"short\n")
    step("cat a", shell.cat, "/a")


def names(step, shell):
    """Renaming, deleting, directories and links."""
    memory = shell.memory
    step("mv a b", shell.mv, "/a", "/b")
    step("ls /", shell.names, "/")
    step("stat a", memory.getattr, "/a")
    step("cat b", shell.cat, "/b")
    step("mv b over another", shell.mv, "/b", "/a name with spaces")
    step("ls /", shell.names, "/")
    step("cat it", shell.cat, "/a name with spaces")
    step("mv it back", shell.mv, "/a name with spaces", "/a")
    step("ls /", shell.names, "/")
    step("sed a", shell.sed, "/a", b"short", b"long")
    step("sed a again", shell.sed, "/a", b"long", b"longer")
    step("cat a", shell.cat, "/a")
    step("stat a", memory.getattr, "/a")
    step("ls /", shell.names, "/")
    step("mkdir d", shell.mkdir, "/d")
    step("stat d", memory.getattr, "/d")
    step("contents of d", lambda: memory.file(memory.name("/d")).get("contents"))
    step("stat /", memory.getattr, "/")
    step("mkdir d again", shell.mkdir, "/d")
    step("rmdir d", shell.rmdir, "/d")
    step("ls /", shell.names, "/")
    step("mkdir d", shell.mkdir, "/d")
    step("mv d e", shell.mv, "/d", "/e")
    step("ls /", shell.names, "/")
    step("rmdir e", shell.rmdir, "/e")
    step("ln", shell.ln, "no/such place", "/link")
    step("stat link", memory.getattr, "/link")
    step("readlink", memory.readlink, "/link")
    step("mv link", shell.mv, "/link", "/linked")
    step("rm link", shell.rm, "/linked")
    step("rm it again", shell.rm, "/linked")
    step("rm a", shell.rm, "/a")
    step("stat a", memory.getattr, "/a")
    step("write a again", shell.write, "/a", b"back\n")
    step("cat a", shell.cat, "/a")
    step("ls /", shell.names, "/")


def nested(step, shell):
    """Directories in directories."""
    step("mkdir d", shell.mkdir, "/d")
    step("mkdir d/e", shell.mkdir, "/d/e")
    step("write d/e/f", shell.write, "/d/e/f", b"deep\n")
    step("write d/g", shell.write, "/d/g", b"less deep\n")
    step("ls d/e", shell.names, "/d/e")
    step("ls d", shell.names, "/d")
    step("ls /", shell.names, "/")
    # The links of a directory are counted by whoever has the tree.
    step("mode of d", lambda: shell.memory.getattr("/d")["st_mode"])
    step("mv d/g d/e/g", shell.mv, "/d/g", "/d/e/g")
    step("mv d/e/f d/e/g", shell.mv, "/d/e/f", "/d/e/g")
    step("sed d/e/g", shell.sed, "/d/e/g", b"deep", b"low")
    step("cat d/e/g", shell.cat, "/d/e/g")
    step("ls d/e", shell.names, "/d/e")
    step("mv d/e/g h", shell.mv, "/d/e/g", "/h")
    step("rmdir d", shell.rmdir, "/d")
    step("rmdir d/e", shell.rmdir, "/d/e")
    step("ls d", shell.names, "/d")
    step("stat d", shell.memory.getattr, "/d")
    step("write d/x", shell.write, "/d/x", b"x")
    step("rm d/x", shell.rm, "/d/x")
    step("rm h", shell.rm, "/h")
    step("ls /", shell.names, "/")


def attributes(step, shell):
    """Modes, times, lengths and extended attributes."""
    memory = shell.memory
    step("chmod a", memory.chmod, "/a", 0o604)
    step("chown a", memory.chown, "/a", 0, 0)
    step("utimens a", memory.utimens, "/a", (1000000000.5, 1200000000.25))
    step("stat a", memory.getattr, "/a")
    step("touch a", memory.utimens, "/a")
    step("stat a", memory.getattr, "/a")
    step("truncate a", memory.truncate, "/a", 2)
    step("cat a", shell.cat, "/a")
    step("truncate a to more", memory.truncate, "/a", 4)
    step("stat a", memory.getattr, "/a")
    step("getxattr", memory.getxattr, "/a", "user.colour")
    step("setxattr", memory.setxattr, "/a", "user.colour", b"blue", 0)
    step("setxattr", memory.setxattr, "/a", "user.shape", b"round", 0)
    step("getxattr", memory.getxattr, "/a", "user.colour")
    step("listxattr", lambda: sorted(memory.listxattr("/a")))
    step("removexattr", memory.removexattr, "/a", "user.colour")
    step("removexattr", memory.removexattr, "/a", "user.colour")
    step("listxattr", lambda: sorted(memory.listxattr("/a")))
    step("chmod /", memory.chmod, "/", 0o700)
    step("stat /", memory.getattr, "/")
    step("write a", shell.write, "/a", b"as it stays\n")


def odd_names_and_contents(step, shell, args):
    """What not every form carries."""
    # Python 2 gets text outside ASCII as unicode, which it does not take for the str it sent.
    arrays = args.lists != "pickled" and args.dialect == "string"
    if not PYTHON_2 or args.names == "unicode" or not arrays:
        # A pickle of Python 2's unicode is text of Latin-1, which XML carries if it is of ASCII.
        umlauts, none = u"/gr\u00f6\u00dfe \u20ac", u"/\u0438\u043c\u044f \u20ac"
        name = native(none if args.names == "unicode" else umlauts)
        step("write a name outside ASCII", shell.write, name, b"named\n")
        step("ls /", shell.names, "/")
        step("cat it", shell.cat, name)
        step("write another after it", shell.write, "/after", b"after\n")
        step("mv it", shell.mv, name, name + "2")
        step("sed it", shell.sed, name + "2", b"named", b"renamed")
        step("cat it", shell.cat, name + "2")
        step("rm the other", shell.rm, "/after")
        step("ls /", shell.names, "/")
        step("rm it", shell.rm, name + "2")
    if args.dialect == "binary" and args.contents != "array":
        step("write all bytes", shell.write, "/bytes", ALL_BYTES)
        step("cat all bytes", lambda: shell.cat("/bytes") == ALL_BYTES)
    step("write much", shell.write, "/much", b"0123456789abcde\n" * 10000)
    step("cat much", lambda: len(shell.cat("/much")))
    step("mv much", shell.mv, "/much", "/moved")
    step("rm much", shell.rm, "/moved")


def second_client(step, args):
    """Another program of the kind, that comes later."""
    shell = Shell(make_memory(args))
    step("ls / by another", shell.names, "/")
    step("cat a by another", shell.cat, "/a")
    step("write b by another", shell.write, "/b", b"by another\n")
    step("mv b a by another", shell.mv, "/b", "/a")
    step("write c by another", shell.write, "/c", b"")


def values(printer, shell, paths):
    """What is on the servers in the end."""
    files = shell.memory.files
    for path in paths:
        for place, url, key in files.values(path):
            entry = files.wire.proxy(url).get(files.wire.key(key))
            value = entry.get("value")
            try:
                seen = "a pickle of " + printer.show(shell.seen(files.wire.load(value)))
            except Exception:
                seen = printer.show(shell.seen(value))
            kind = type(value).__name__
            ttl = "all of the ttl" if entry.get("ttl", 0) > files.ttl - 200 else entry.get("ttl")
            print("%s at the %s: %s, %s, %s" % (key, place, kind, seen, ttl))


def clear(step, shell):
    """Nothing is left."""
    for name in shell.names("/"):
        step("rm " + name, shell.rm, "/" + name)
    step("ls /", shell.names, "/")
    step("stat /", shell.memory.getattr, "/")


def main():
    parser = argparse.ArgumentParser(description="the work of the interop tests",
                                     parents=[program_options()])
    parser.add_argument("--faults", action="store_true", help="print what faults say")
    args = parser.parse_args()
    urls = [url for url in [args.master] + (args.servers or "").split(",") if url]
    printer = Printer(urls, text=args.names == "unicode")
    step = printer.step
    shell = Shell(make_memory(args))
    plain_files(step, shell)
    names(step, shell)
    attributes(step, shell)
    if args.level != "one":
        nested(step, shell)
    odd_names_and_contents(step, shell, args)
    second_client(step, args)
    step("ls / by the first", shell.names, "/")
    step("cat a by the first", shell.cat, "/a")
    values(printer, shell, ["/", "/a", "/c"] + ["/d"] * (args.level != "one"))
    if args.level != "one":
        step("rmdir d", shell.rmdir, "/d")
    clear(step, shell)


if __name__ == "__main__":
    main()
