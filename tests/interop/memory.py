"""Memory: a file system over HtProxy, mounted with fusepy (which needs libfuse 2).

    memory.py <mountpoint> --master URL --ca FILE [--dialect D] [--contents C]

Every write is a put of the whole file, as in the homework; contents that are open are read once.
The contents of a directory is the list of the paths of its entries; that of the root begins with
"/" itself. One source for Python 2.7 and Python 3.
"""

from __future__ import print_function

import argparse
import errno
import posixpath
import stat
import time

from ht_proxy import DEFAULT_TTL, HtProxy, native, to_bytes

try:
    import fuse
    Operations = fuse.Operations
except (ImportError, EnvironmentError):
    # Without fusepy or libfuse, the methods below still work when they are called directly.
    fuse = None
    Operations = object


def error(number):
    """What fusepy turns into an errno."""
    return OSError(number, errno.errorcode[number])


class Memory(Operations):
    """The operations of the file system; paths are text."""

    def __init__(self, proxy):
        self.proxy = proxy
        # Contents of the files that are open, with the number of their handles.
        self.contents = {}
        self.handles = {}
        if proxy.attributes("/") is None:
            proxy.put("/", dict(self.new_attributes(stat.S_IFDIR | 0o755), contents=["/"]))

    @staticmethod
    def new_attributes(mode):
        """Attributes of something that is just made."""
        now = time.time()
        links = 2 if stat.S_ISDIR(mode) else 1
        return dict(st_mode=mode, st_nlink=links, st_size=0,
                    st_ctime=now, st_mtime=now, st_atime=now)

    def attributes(self, path):
        """Attributes under a path, or ENOENT."""
        attributes = self.proxy.attributes(path)
        if attributes is None:
            raise error(errno.ENOENT)
        return attributes

    # Names.

    def names(self, path):
        """The directory under a path, with its list of paths."""
        directory = self.proxy.get(path, is_list=True)
        if directory is None:
            raise error(errno.ENOENT)
        return directory

    def add(self, path, mode, contents):
        """Makes something new under a path, and names it in its directory."""
        if self.proxy.attributes(path) is not None:
            raise error(errno.EEXIST)
        parent = posixpath.dirname(path)
        directory = self.names(parent)
        size = 0 if isinstance(contents, list) else len(contents)
        self.proxy.put(path, dict(self.new_attributes(mode), contents=contents, st_size=size))
        directory["contents"].append(native(path))
        directory["st_nlink"] += stat.S_ISDIR(mode)
        self.proxy.put(parent, directory)

    def remove(self, path, is_directory):
        """Removes what is under a path, and its name."""
        self.proxy.delete(path)
        parent = posixpath.dirname(path)
        directory = self.names(parent)
        directory["contents"] = [name for name in directory["contents"] if name != native(path)]
        directory["st_nlink"] -= is_directory
        self.proxy.put(parent, directory)

    def mkdir(self, path, mode):
        self.add(path, stat.S_IFDIR | mode, [])

    def rmdir(self, path):
        if self.names(path)["contents"]:
            raise error(errno.ENOTEMPTY)
        self.remove(path, True)

    def unlink(self, path):
        self.remove(path, False)

    def symlink(self, target, source):
        self.add(target, stat.S_IFLNK | 0o777, to_bytes(source, "utf-8"))

    def readlink(self, path):
        return self.proxy.get(path)["contents"].decode("utf-8")

    def rename(self, old, new):
        attributes = self.attributes(old)
        if stat.S_ISDIR(attributes["st_mode"]):
            # The entries' paths would all change; mv copies instead.
            raise error(errno.EXDEV)
        file = self.proxy.get(old)
        if self.proxy.attributes(new) is None:
            self.add(new, file["st_mode"], b"")
        self.proxy.put(new, file)
        self.remove(old, False)
        self.contents[new] = self.contents.pop(old, None)
        self.handles[new] = self.handles.pop(old, 0)

    def readdir(self, path, fh=None):
        paths = [name for name in self.names(path)["contents"] if name != "/"]
        names = [posixpath.basename(name) for name in paths]
        return [u".", u".."] + [to_bytes(name, "utf-8").decode("utf-8") for name in names]

    # Attributes.

    def getattr(self, path, fh=None):
        attributes = self.attributes(path)
        return dict((name, value) for name, value in attributes.items() if name[:3] == "st_")

    def change(self, path, **changes):
        """Sets some attributes that do not touch the contents."""
        self.proxy.put_attributes(path, dict(self.attributes(path), **changes))

    def chmod(self, path, mode):
        kind = stat.S_IFMT(self.attributes(path)["st_mode"])
        self.change(path, st_mode=kind | stat.S_IMODE(mode))

    def chown(self, path, uid, gid):
        given = [("st_uid", uid), ("st_gid", gid)]
        self.change(path, **dict((name, number) for name, number in given if number != -1))

    def utimens(self, path, times=None):
        accessed, modified = times or (time.time(), time.time())
        self.change(path, st_atime=accessed, st_mtime=modified)

    def getxattr(self, path, name, position=0):
        extended = self.attributes(path)["attrs"]
        if native(name) not in extended:
            raise error(errno.ENODATA)
        return extended[native(name)]

    def listxattr(self, path):
        return [to_bytes(name, "utf-8").decode("utf-8") for name in self.attributes(path)["attrs"]]

    def setxattr(self, path, name, value, options, position=0):
        self.change(path, attrs=dict(self.attributes(path)["attrs"], **{native(name): value}))

    def removexattr(self, path, name):
        extended = self.attributes(path)["attrs"]
        if extended.pop(native(name), None) is None:
            raise error(errno.ENODATA)
        self.change(path, attrs=extended)

    def statfs(self, path):
        return dict(f_bsize=4096, f_frsize=4096, f_blocks=1 << 20, f_bavail=1 << 20)

    # Contents.

    def create(self, path, mode, fi=None):
        self.add(path, stat.S_IFREG | mode, b"")
        return self.open(path, 0)

    def open(self, path, flags):
        self.handles[path] = self.handles.get(path, 0) + 1
        return 0

    def release(self, path, fh):
        self.handles[path] -= 1
        if self.handles[path] <= 0:
            del self.handles[path]
            self.contents.pop(path, None)

    def load(self, path):
        """The contents under a path; those of an open file are kept."""
        contents = self.contents.get(path)
        if contents is None:
            file = self.proxy.get(path)
            if file is None:
                raise error(errno.ENOENT)
            contents = file["contents"]
            if path in self.handles:
                self.contents[path] = contents
        return contents

    def store(self, path, contents):
        """Puts a file with new contents."""
        file = dict(self.attributes(path), contents=contents, st_size=len(contents))
        file["st_mtime"] = file["st_ctime"] = time.time()
        self.proxy.put(path, file)
        if path in self.handles:
            self.contents[path] = contents

    def read(self, path, size, offset, fh):
        return self.load(path)[offset:offset + size]

    def write(self, path, data, offset, fh):
        contents = self.load(path)
        before = contents[:offset] + b"\0" * (offset - len(contents))
        self.store(path, before + data + contents[offset + len(data):])
        return len(data)

    def truncate(self, path, length, fh=None):
        contents = self.load(path)[:length]
        self.store(path, contents + b"\0" * (length - len(contents)))


def proxy_options():
    """The options of every program that makes an HtProxy."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--master", default="https://localhost:8443", help="URL of the master")
    options.add_argument("--ca", default="keys/cacert.pem", help="certificate to trust")
    options.add_argument("--dialect", choices=("string", "binary"), default="string")
    options.add_argument("--contents", choices=("raw", "pickled"), default="raw")
    options.add_argument("--protocol", type=int, help="pickle protocol to write")
    options.add_argument("--ttl", type=int, default=DEFAULT_TTL, help="seconds")
    return options


def make_proxy(args):
    """The HtProxy that the options ask for."""
    return HtProxy(args.master, args.ca, args.dialect, args.contents, args.protocol, args.ttl)


def main():
    parser = argparse.ArgumentParser(description="mounts the hash tables", parents=[proxy_options()])
    parser.add_argument("mountpoint")
    args = parser.parse_args()
    if fuse is None:
        raise SystemExit("memory.py needs fusepy (pip install fusepy) and libfuse 2 (libfuse2)")
    # Single-threaded: a ServerProxy has one connection. The kernel asks again for every attribute,
    # as other clients change them.
    fuse.FUSE(Memory(make_proxy(args)), args.mountpoint, foreground=True, nothreads=True,
              big_writes=True, attr_timeout=0, entry_timeout=0)


if __name__ == "__main__":
    main()
