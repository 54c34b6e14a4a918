"""What the original programs need of their servers, call by call.

    originals_calls.py [Class[.test]...] --master URL --servers URL,URL --ca FILE [--original] ...

The options of originals.py choose the form of the calls. The servers must be fresh for each class.
--original leaves out what the original's servers do not do. One source for Python 2.7 and Python 3.
"""

import argparse
import os
import pickle
import stat
import sys
import threading
import time
import unittest

from ht_proxy import PYTHON_2, native, xmlrpc_client
from originals import make_files, make_memory, program_options
from originals_tables import OneTable, Wire

Binary = xmlrpc_client.Binary
ARGS = None
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


class DeletedNames(Calls):
    """A deleted name stays in the list that classic clients get until that list is next put."""

    def test_rename_finds_the_old_name_in_the_list(self):
        self.memory.create(self.path("old"), 0o644)
        self.put("new")
        del self.files[self.path("old")]
        self.assertGone("old")
        directory = self.directory()
        self.assertIn(self.path("old"), directory["contents"])
        directory["contents"].append(self.path("new"))
        directory["contents"].remove(self.path("old"))
        self.put_directory(directory)
        self.assertListed("new")
        self.assertNotListed("old")

    def test_rmdir_finds_the_name_in_the_list(self):
        self.memory.mkdir(self.path("gone"), 0o755)
        del self.files[self.path("gone")]
        self.assertGone("gone")
        self.assertListed("gone")
        self.assertListed("gone")
        directory = self.directory()
        directory["contents"].remove(self.path("gone"))
        self.put_directory(directory)
        self.assertNotListed("gone")

    def test_a_file_that_is_deleted_without_more_stays(self):
        self.memory.create(self.path("alone"), 0o644)
        del self.files[self.path("alone")]
        self.assertGone("alone")
        self.assertListed("alone")

    def test_several_deleted_names_stay(self):
        for name in ("s1", "s2", "s3"):
            self.memory.create(self.path(name), 0o644)
        for name in ("s1", "s3"):
            del self.files[self.path(name)]
        self.assertListed("s1", "s2", "s3")
        directory = self.directory()
        directory["contents"].remove(self.path("s1"))
        directory["contents"].remove(self.path("s3"))
        self.put_directory(directory)
        self.assertListed("s2")
        self.assertNotListed("s1", "s3")

    def test_a_name_that_another_puts_back_stays(self):
        self.memory.create(self.path("back"), 0o644)
        self.put("renamed from back")
        del self.files[self.path("back")]
        make_memory(ARGS).create(self.path("of another"), 0o644)
        # The other's list had the name, as it was given to it.
        directory = self.directory()
        directory["contents"].remove(self.path("back"))
        self.put_directory(directory)
        self.assertListed("of another")
        self.assertNotListed("back")

    def test_a_name_that_left_the_list_first_does_not_come_back(self):
        self.memory.create(self.path("unlinked"), 0o644)
        self.memory.unlink(self.path("unlinked"))
        self.assertNotListed("unlinked")
        self.assertGone("unlinked")

    def test_a_name_made_again_is_there(self):
        self.memory.create(self.path("again"), 0o644)
        del self.files[self.path("again")]
        self.memory.create(self.path("again"), 0o600)
        self.assertListed("again")
        self.assertEqual(self.memory.getattr(self.path("again"))["st_mode"], 0o100600)
        self.memory.rename(self.path("again"), self.path("once more"))
        self.assertListed("once more")

    @ours
    def test_a_list_that_is_older_takes_no_name_from_another(self):
        another = make_files(ARGS)
        old = another[self.memory.name(self.place)]
        self.memory.create(self.path("young"), 0o644)
        self.put("renamed")
        del self.files[self.path("young")]
        another[self.memory.name(self.place)] = old
        directory = self.directory()
        directory["contents"].append(self.path("renamed"))
        directory["contents"].remove(self.path("young"))
        self.put_directory(directory)
        self.assertListed("renamed")
        self.assertNotListed("young")

    @ours
    def test_names_of_a_client_that_died_go(self):
        self.memory.create(self.path("orphan"), 0o644)
        self.put("new name of it")
        del self.files[self.path("orphan")]
        self.assertListed("orphan")
        self.assertForgotten("orphan")
        self.assertGone("orphan")

    @ours
    def test_two_clients_make_and_delete_side_by_side(self):
        failures = []
        clients = [threading.Thread(target=self.work, args=(name, failures)) for name in "xy"]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual(failures, [])
        expected = ["%s%d moved" % (name, number) for name in "xy" for number in (1, 3, 5, 7)]
        self.assertListed(*expected)
        gone = ["%s%d moved" % (name, number) for name in "xy" for number in (0, 2, 4, 6)]
        # One may have put back a name that it got just before the other unlinked it.
        self.assertForgotten(*gone + ["%s%d" % (name, n) for name in "xy" for n in range(8)])

    def work(self, name, failures):
        """What one of two clients does."""
        try:
            memory = make_memory(ARGS)
            for number in range(8):
                old, new = self.path("%s%d" % (name, number)), "%s%d moved" % (name, number)
                memory.create(old, 0o644)
                memory.rename(old, self.path(new))
                memory.mkdir(self.path(name + " directory"), 0o755)
                memory.rmdir(self.path(name + " directory"))
                if number % 2 == 0:
                    memory.unlink(self.path(new))
        except Exception as failure:  # Whatever it is, it belongs to the test and not to a thread.
            failures.append("%s: %r" % (name, failure))


class OwnContents(unittest.TestCase):
    """A dict that has its contents in it, or none, comes back as it was put."""

    def tables(self):
        """The master and a chunk server, each in both dialects, as tables of pickled dicts."""
        make_files(ARGS)
        for url in (ARGS.master, native(ARGS.servers).split(",")[0]):
            for dialect in ("string", "binary"):
                yield OneTable(Wire(dialect), [url])

    def assertKept(self, path, file):
        """It comes back as it was put, to all of them."""
        for table in self.tables():
            table[path] = file
            self.assertEqual(table[path], file)
            self.assertEqual(sorted(map(repr, table[path])), sorted(map(repr, file)))
            del table[path]
            self.assertNotIn(path, table)

    def test_a_second_put_of_another_size(self):
        for table in self.tables():
            table["/z"] = attributes(contents=b"")
            table["/z"] = attributes(contents=b"hello", st_size=5)
            self.assertEqual(table["/z"], attributes(contents=b"hello", st_size=5))
            table["/z"] = attributes(contents=b"hi", st_size=2, st_mode=stat.S_IFREG | 0o600)
            self.assertEqual(table["/z"], attributes(contents=b"hi", st_size=2, st_mode=0o100600))
            del table["/z"]
            self.assertNotIn("/z", table)

    def test_a_size_that_is_not_that_of_the_contents(self):
        self.assertKept("/odd size", attributes(contents=b"hello", st_size=77))

    def test_a_root_with_its_list(self):
        root = attributes(st_mode=stat.S_IFDIR | 0o755, st_nlink=2, contents=["/"])
        for table in self.tables():
            table["/"] = root
            self.assertEqual(table["/"], root)
            for names in (["/", "/r"], ["/"], ["/", "/b", "/a", "/a"]):
                table["/r"] = attributes(contents=b"")
                table["/"] = dict(root, contents=names)
                self.assertEqual(table["/"], dict(root, contents=names))
            del table["/r"]
            self.assertEqual(table["/"]["contents"], ["/", "/b", "/a", "/a"])
            del table["/"]

    def test_no_contents(self):
        self.assertKept("/none", attributes(st_size=11))
        self.assertKept("/no directory", attributes(st_mode=stat.S_IFDIR | 0o755, st_nlink=2))

    def test_contents_that_are_text(self):
        self.assertKept("/text", attributes(contents=u"5 \u20ac", st_size=5))

    def test_servers_that_nobody_knows(self):
        self.assertKept("/elsewhere", attributes(contents="https://localhost:1", st_size=3))
        urls = native(ARGS.servers).split(",")
        self.assertKept("/two urls", attributes(contents=urls, st_size=3))
        self.assertKept("/two urls in one", attributes(contents=" ".join(urls), st_size=3))

    def test_whatever_else_is_in_it(self):
        self.assertKept("/more", attributes(contents=b"x", attrs={"user.a": b"b"}, version=[1, 2],
                                            st_uid=7, nested={"none": None, "big": 2 ** 40}))

    def test_a_link_and_a_directory(self):
        self.assertKept("/link", attributes(st_mode=stat.S_IFLNK | 0o777, contents=b"a/b"))
        self.assertKept("/list", attributes(st_mode=stat.S_IFDIR | 0o755, contents=["/list/a"]))

    def test_its_ttl(self):
        for table in self.tables():
            for ttl in (5000, 100, 20000):
                table.ttl = ttl
                table["/ttl"] = attributes(contents=b"x", st_size=1)
                left = table.wire.proxy(table.url("/ttl")).get(table.wire.key("/ttl"))["ttl"]
                self.assertTrue(ttl - 10 <= left <= ttl, left)


class ChunkValues(unittest.TestCase):
    """A chunk server is a SimpleHT: a value lives as long as its ttl says, path or not."""

    def setUp(self):
        make_files(ARGS)
        self.urls = native(ARGS.servers).split(",")
        self.chunk = xmlrpc_client.ServerProxy(self.urls[0])

    def test_values_of_every_type_under_paths(self):
        values = ["text", Binary(b"\x00\xff"), 7, True, 2.5, ["/", "/a"], [1, ["x"]],
                  {"a": {"b": 1}}, "", [], xmlrpc_client.DateTime("20200102T03:04:05")]
        for key in ("/typed", Binary(b"/typed")):
            for value in values:
                self.assertIs(self.chunk.put(key, value, 500), True)
                back = self.chunk.get(key)
                self.assertEqual(back["value"], value)
                self.assertIs(type(back["value"]), type(value))
                self.assertTrue(490 <= back["ttl"] <= 500, back)

    def test_it_stays_while_others_work(self):
        self.chunk.put("/mine", "as it was", 30000)
        memory = make_memory(ARGS)
        for number in range(10):
            path = memory.name("/f%d" % number)
            memory.create(path, 0o644)
            memory.write(path, b"of others\n", 0, 0)
            memory.unlink(path)
        entry = self.chunk.get("/mine")
        self.assertEqual(entry["value"], "as it was")
        self.assertTrue(29900 <= entry["ttl"] <= 30000, entry)

    def test_it_expires(self):
        put_at = time.time()
        self.chunk.put("/brief", "x", 2)
        self.assertEqual(self.chunk.get("/brief")["value"], "x")
        while self.chunk.get("/brief"):
            self.assertLess(time.time(), put_at + 10, "it never expires")
            time.sleep(0.05)
        self.assertGreater(time.time(), put_at + 1.9, "it expired too early")

    def test_ttl_0_deletes(self):
        self.chunk.put("/deleted", "x", 100)
        self.chunk.put("/deleted", "", 0)
        self.assertEqual(self.chunk.get("/deleted"), {})


class Arrays(Calls):
    """A list that was put as an array comes back as one."""

    def listed(self):
        """The list of the test's directory as it comes over the wire."""
        url = self.files.attributes(self.place)["contents"]
        return self.files.chunk(url).get(self.files.wire.key(self.place))["value"]

    def test_an_array_is_an_array_with_the_names_that_are_there(self):
        self.assertIsInstance(self.listed(), list)
        self.memory.create(self.path("first"), 0o644)
        self.memory.create(self.path("second"), 0o644)
        self.memory.unlink(self.path("first"))
        listed = self.listed()
        self.assertIsInstance(listed, list)
        item = type(self.files.wire.dump_contents([self.path("second")])[0])
        self.assertEqual(set(type(name) for name in listed), set([item]))
        self.assertListed("second")
        self.assertNotListed("first")

    def test_it_has_the_names_of_others(self):
        another = make_memory(ARGS)
        directory = self.directory()
        another.create(self.path("of another"), 0o644)
        # A name that a client puts back does not take away that of the other: here only, as at
        # the original the last list wins.
        if "--original" not in sys.argv:
            self.put_directory(directory)
        self.assertListed("of another")

    def test_an_array_in_an_array_and_other_values_are_what_they_were(self):
        chunk = self.files.chunk(native(ARGS.servers).split(",")[0])
        for value in ([], [1, "a", [2.5]], [[], [[]]], [{"a": []}]):
            chunk.put(self.files.wire.key("/value"), value, 100)
            self.assertEqual(chunk.get(self.files.wire.key("/value"))["value"], value)


class SmallOnes(unittest.TestCase):
    """Modes, times to live, keys and names that some program has."""

    def setUp(self):
        make_files(ARGS)
        self.urls = [ARGS.master, native(ARGS.servers).split(",")[0]]
        self.servers = [xmlrpc_client.ServerProxy(url) for url in self.urls]

    def test_a_ttl_may_have_a_fraction(self):
        places = [(server, key) for server in self.servers for key in ("fraction", "/fraction")]
        put_at = time.time()
        for server, key in places:
            self.assertIs(server.put(key, "x", 1.5), True)
            self.assertEqual(server.get(key), {"value": "x", "ttl": 1})
        for server, key in places:
            while server.get(key):
                self.assertLess(time.time(), put_at + 10, "it never expires")
                time.sleep(0.05)
            self.assertGreater(time.time(), put_at + 1.4, "it expired too early")
            server.put(key, "x", 100.0)
            self.assertIn(server.get(key)["ttl"], range(90, 101))

    def test_a_key_may_be_a_number(self):
        for server in self.servers:
            server.put(5, "five", 100)
            server.put("5", "text", 100)
            server.put(2.5, "two and a half", 100)
            server.put(True, "true", 100)
            self.assertEqual(server.get(5)["value"], "five")
            self.assertEqual(server.get("5")["value"], "text")
            self.assertEqual(server.get(2.5)["value"], "two and a half")
            self.assertEqual(server.get(True)["value"], "true")
            # As in a dict of Python.
            self.assertEqual(server.get(5.0)["value"], "five")
            self.assertEqual(server.get(1)["value"], "true")
            self.assertEqual(server.get(False), {})
            server.put(5.0, "", 0)
            self.assertEqual(server.get(5), {})
            self.assertEqual(server.get("5")["value"], "text")

    def test_a_key_that_is_an_array_is_a_fault(self):
        for server in self.servers:
            for key in ([1], {"a": 1}):
                with self.assertRaises(xmlrpc_client.Fault):
                    server.put(key, "x", 100)
            self.assertEqual(server.get("nothing"), {})


class NativeMount(Calls):
    """What is done here is seen on a native mount, and the other way round."""

    def setUp(self):
        if ARGS.native is None:
            self.skipTest("there is no native mount")
        Calls.setUp(self)
        self.is_tree = ARGS.shape == "gfs"

    @staticmethod
    def there(name):
        """A path on the native mount."""
        return os.path.join(ARGS.native, name)

    def assertSoon(self, condition, what):
        """An event may be on its way for a moment."""
        deadline = time.time() + 1
        while not condition():
            self.assertLess(time.time(), deadline, what)
            time.sleep(0.01)

    def test_a_deleted_name_is_gone_there_at_once(self):
        self.memory.create(self.path("x"), 0o644)
        self.memory.write(self.path("x"), b"text", 0, 0)
        if self.is_tree:
            self.assertSoon(lambda: os.path.exists(self.there("x")), "it never came")
        del self.files[self.path("x")]
        self.assertListed("x")
        self.assertSoon(lambda: not os.path.exists(self.there("x")), "it is still there")
        self.assertNotIn("x", os.listdir(ARGS.native))
        self.assertListed("x")

    def test_a_renamed_name_moves_there_at_once(self):
        self.memory.create(self.path("m"), 0o644)
        self.memory.write(self.path("m"), b"moved", 0, 0)
        self.memory.rename(self.path("m"), self.path("n"))
        self.assertSoon(lambda: not os.path.exists(self.there("m")), "it is still there")
        if self.is_tree:
            with open(self.there("n")) as file:
                self.assertEqual(file.read(), "moved")

    def test_the_mode_of_the_root(self):
        # No dict of these programs has an owner.
        for mode in (0o750, 0o711, 0o755):
            self.memory.chmod("/", mode)
            self.assertEqual(self.memory.getattr("/")["st_mode"], stat.S_IFDIR | mode)
            if self.is_tree:
                self.assertSoon(lambda: os.stat(ARGS.native).st_mode == stat.S_IFDIR | mode,
                                "the mode does not change")

    def test_names_of_the_mount_come_and_go(self):
        if not self.is_tree:
            self.skipTest("a table has what was put")
        with open(self.there("native"), "w") as file:
            file.write("text")
        self.assertListed("native")
        self.assertEqual(self.memory.read(self.path("native"), 100, 0, 0), b"text")
        os.remove(self.there("native"))
        self.assertNotListed("native")
        self.assertGone("native")


class NamesOutsideAscii(Calls):
    """One such name does not stop anybody from creating others."""

    NAME = u"gr\u00f6\u00dfe \u20ac"

    def test_a_later_create_sends_the_list_back(self):
        self.memory.create(self.path(native(self.NAME)), 0o644)
        self.memory.create(self.path("later"), 0o644)
        self.memory.rename(self.path("later"), self.path("latest"))
        listed = self.directory()["contents"]
        self.assertEqual(len(listed), 3 if self.place == "/" else 2)
        self.assertListed("latest")
        if not PYTHON_2 or ARGS.lists != "array" or ARGS.names == "unicode":
            self.assertListed(native(self.NAME))
            self.memory.unlink(self.path(native(self.NAME)))
            self.assertNotListed(native(self.NAME))

    def test_a_name_that_somebody_else_made(self):
        """Made as text under a key that is text, which every Python sends alike."""
        key = u"/" + self.NAME + u" of another"
        file = attributes(contents=self.files.server_for("/"))
        self.files.chunk(file["contents"]).put(key, Binary(b""), 100)
        self.files.wire.proxy(ARGS.master).put(key, Binary(pickle.dumps(file, 2)), 100)
        self.memory.create(self.path("after it"), 0o644)
        self.memory.rename(self.path("after it"), self.path("after"))
        self.assertListed("after")


def main():
    global ARGS
    parser = argparse.ArgumentParser(description="calls of the original programs",
                                     parents=[program_options()])
    parser.add_argument("tests", nargs="*", help="classes or tests; all, if there are none")
    parser.add_argument("--original", action="store_true")
    parser.add_argument("--native", metavar="DIR", help="a native mount of the same tree")
    ARGS = parser.parse_args()
    unittest.main(argv=sys.argv[:1] + ARGS.tests)


if __name__ == "__main__":
    main()
