"""What the call-by-call tests of the original programs share.

The options of originals.py choose the form of the calls. The servers must be fresh for each class
of tests. --original leaves out what the original's servers do not do. One source for Python 2.7 and
Python 3.
"""

import argparse
import stat
import sys
import time
import unittest

from originals import make_memory, program_options

# The options; main() fills them in.
ARGS = argparse.Namespace()
# Longest time that a name may be in a list after the client that deleted it died, in seconds.
FORGOTTEN_S = 20

ours = unittest.skipIf("--original" in sys.argv, "the original's servers do not do this")


def attributes(**more):
    """A dict of a file, as any program makes it."""
    file = dict(st_mode=stat.S_IFREG | 0o644, st_nlink=1, st_size=0, st_ctime=1.5, st_mtime=2.5,
                st_atime=3.5)
    file.update(more)
    return file


class Calls(unittest.TestCase):
    """Each test has names of its own, as all of a class share the servers."""

    def setUp(self):
        self.memory = make_memory(ARGS)
        self.files = self.memory.files
        self.place = "/"
        if ARGS.level == "tree":
            self.place = "/" + self.id().split(".test_")[1]
            self.memory.mkdir(self.place, 0o755)

    def path(self, name):
        """A path in the directory of this test."""
        return self.memory.name(self.place.rstrip("/") + "/" + name)

    def put(self, name, contents=b""):
        """Puts a path, without naming it in the list."""
        file = attributes(st_size=len(contents), contents=contents)
        self.files[self.path(name)] = file

    def directory(self):
        """The directory of this test, with its list."""
        return self.files[self.memory.name(self.place)]

    def put_directory(self, directory):
        """Puts the directory of this test, with its list."""
        self.files[self.memory.name(self.place)] = directory

    def assertListed(self, *names):
        listed = self.directory()["contents"]
        for name in names:
            self.assertIn(self.path(name), listed)

    def assertNotListed(self, *names):
        listed = self.directory()["contents"]
        for name in names:
            self.assertNotIn(self.path(name), listed)

    def assertForgotten(self, *names):
        """They go from the list soon, whatever became of the clients that deleted them."""
        deadline = time.time() + FORGOTTEN_S
        while set(self.path(name) for name in names) & set(self.directory()["contents"]):
            self.assertLess(time.time(), deadline, "a name stays in the list")
            time.sleep(0.1)

    def assertGone(self, name):
        """The master has nothing under a path."""
        self.assertNotIn(self.path(name), self.files)


def main():
    """Runs the tests of the program."""
    parser = argparse.ArgumentParser(description="calls of the original programs",
                                     parents=[program_options()])
    parser.add_argument("tests", nargs="*", help="classes or tests; all, if there are none")
    parser.add_argument("--original", action="store_true")
    parser.add_argument("--native", metavar="DIR", help="a native mount of the same tree")
    parser.parse_args(namespace=ARGS)
    unittest.main(argv=sys.argv[:1] + ARGS.tests)
