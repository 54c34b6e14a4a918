"""Memory: the file system of the original programs, over a dict of files by path.

Its calls come in the order in which the originals make them. A path is named in the list under "/"
or, in a program that keeps a whole tree, in the list under its parent:

    create, mkdir, symlink  put the path; get the list, append, put the list
    unlink                  get the list, remove the name, put the list; delete the path
    rename                  get old, put new, delete old; get the list, append new, remove old, put
    rmdir                   delete the path; get the list, remove the name, put the list
    everything else         get, change, put the whole

`list.remove` raises if the name is not in the list. One source for Python 2.7 and Python 3.
"""

import errno
import posixpath
import stat
import time

from ht_proxy import TEXT, native, to_bytes

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


def as_text(path):
    """A path as text."""
    return path if isinstance(path, TEXT) else path.decode("utf-8")


def splice(contents, offset, data):
    """Contents with data written at an offset."""
    gap = b"\0" * (offset - len(contents))
    return contents[:offset] + gap + data + contents[offset + len(data):]


class Memory(Operations):
    """The operations. `files` is one of the HtProxy family.

    level    one: no path has a parent but "/". flat: a tree, all of whose names are in the list
             under "/". tree: every directory has its own list
    look     where getattr looks first: at the dict, or in the list
    append   whether rename appends the new name always, or only if it is not in the list
    names    native: as this Python calls str; unicode: as text, which fusepy gives
    """

    def __init__(self, files, level="one", look="dict", append="always", names="native"):
        self.files = files
        self.level = level
        self.look = look
        self.append = append
        self.name = native if names == "native" else as_text
        self.opened = 0
        if self.name("/") not in self.files:
            root = self.new(stat.S_IFDIR | 0o755, 2)
            self.files[self.name("/")] = dict(root, contents=[self.name("/")])

    @staticmethod
    def new(mode, links, **more):
        """Attributes of something that is just made."""
        now = time.time()
        return dict(more, st_mode=mode, st_nlink=links, st_size=more.get("st_size", 0),
                    st_ctime=now, st_mtime=now, st_atime=now)

    def file(self, path):
        """The file under a path, or ENOENT."""
        try:
            return self.files[path]
        except KeyError:
            raise error(errno.ENOENT)

    # Names.

    def lister(self, path):
        """The path whose list has this one."""
        return posixpath.dirname(path) if self.level == "tree" else self.name("/")

    def add(self, path, file, links=0):
        """Stores something new, and then names it."""
        self.files[path] = file
        lister = self.lister(path)
        directory = self.files[lister]
        directory["st_nlink"] += links
        directory["contents"].append(path)
        self.files[lister] = directory

    def create(self, path, mode, fi=None):
        path = self.name(path)
        self.add(path, dict(self.new(stat.S_IFREG | mode, 1), contents=b""))
        self.opened += 1
        return self.opened

    def mkdir(self, path, mode):
        path = self.name(path)
        directory = self.new(stat.S_IFDIR | mode, 2)
        # Where directories have no list, neither have they contents; a put must have some.
        if self.level == "tree":
            directory["contents"] = []
        elif hasattr(self.files, "chunk"):
            directory["contents"] = b""
        self.add(path, directory, links=1)

    def symlink(self, target, source):
        target, source = self.name(target), to_bytes(source, "utf-8")
        link = self.new(stat.S_IFLNK | 0o777, 1, st_size=len(source), contents=source)
        self.add(target, link)

    def unlink(self, path):
        path = self.name(path)
        lister = self.lister(path)
        directory = self.files[lister]
        directory["contents"].remove(path)
        self.files[lister] = directory
        del self.files[path]

    def rename(self, old, new):
        old, new = self.name(old), self.name(new)
        file = self.files[old]
        self.files[new] = file
        del self.files[old]
        lister = self.lister(new)
        directory = self.files[lister]
        if self.append == "always" or new not in directory["contents"]:
            directory["contents"].append(new)
        if lister != self.lister(old):
            self.files[lister] = directory
            lister = self.lister(old)
            directory = self.files[lister]
        directory["contents"].remove(old)
        self.files[lister] = directory

    def rmdir(self, path):
        path = self.name(path)
        if self.readdir(path)[2:]:
            raise error(errno.ENOTEMPTY)
        del self.files[path]
        lister = self.lister(path)
        directory = self.files[lister]
        directory["contents"].remove(path)
        directory["st_nlink"] -= 1
        self.files[lister] = directory

    def readdir(self, path, fh=None):
        path = self.name(path)
        if self.level == "one" and path != "/":
            return [".", ".."]
        paths = self.files[self.lister(posixpath.join(path, "x"))]["contents"]
        inside = [name for name in paths if name != "/" and posixpath.dirname(name) == path]
        return [".", ".."] + [posixpath.basename(name) for name in inside]

    # Attributes.

    def getattr(self, path, fh=None):
        path = self.name(path)
        if self.look == "list" and path != "/":
            if path not in self.file(self.lister(path))["contents"]:
                raise error(errno.ENOENT)
        file = self.file(path)
        return dict((name, value) for name, value in file.items() if name[:3] == "st_")

    def change(self, path, **changes):
        """Gets, changes and puts the whole."""
        path = self.name(path)
        file = self.file(path)
        file.update(changes)
        self.files[path] = file

    def chmod(self, path, mode):
        kind = stat.S_IFMT(self.file(self.name(path))["st_mode"])
        self.change(path, st_mode=kind | stat.S_IMODE(mode))

    def chown(self, path, uid, gid):
        self.change(path, st_uid=uid, st_gid=gid)

    def utimens(self, path, times=None):
        accessed, modified = times or (time.time(), time.time())
        self.change(path, st_atime=accessed, st_mtime=modified)

    def attrs(self, path):
        """The extended attributes of a path."""
        return self.file(self.name(path)).get("attrs", {})

    def getxattr(self, path, name, position=0):
        attrs = self.attrs(path)
        if native(name) not in attrs:
            raise error(errno.ENODATA)
        return attrs[native(name)]

    def listxattr(self, path):
        return list(self.attrs(path))

    def setxattr(self, path, name, value, options, position=0):
        self.change(path, attrs=dict(self.attrs(path), **{native(name): value}))

    def removexattr(self, path, name):
        attrs = self.attrs(path)
        if attrs.pop(native(name), None) is None:
            raise error(errno.ENODATA)
        self.change(path, attrs=attrs)

    def statfs(self, path):
        return dict(f_bsize=512, f_blocks=4096, f_bavail=2048)

    # Contents.

    def open(self, path, flags):
        self.opened += 1
        return self.opened

    def readlink(self, path):
        return self.file(self.name(path))["contents"].decode("utf-8")

    def read(self, path, size, offset, fh):
        return self.file(self.name(path))["contents"][offset:offset + size]

    def write(self, path, data, offset, fh):
        contents = splice(self.file(self.name(path))["contents"], offset, data)
        self.change(path, contents=contents, st_size=len(contents))
        return len(data)

    def truncate(self, path, length, fh=None):
        contents = splice(self.file(self.name(path))["contents"][:length], length, b"")
        self.change(path, contents=contents, st_size=length)
