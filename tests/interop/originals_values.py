"""What the original programs need of values, times to live and keys, call by call.

    originals_values.py [Class[.test]...] --master URL --servers URL,URL --ca FILE [--original] ...

originals_testing.py says what the options do. One source for Python 2.7 and Python 3.
"""

import stat
import time
import unittest

from ht_proxy import native, xmlrpc_client
from originals import make_files, make_memory
from originals_tables import OneTable, Wire
from originals_testing import ARGS, attributes, main

Binary = xmlrpc_client.Binary


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


if __name__ == "__main__":
    main()
