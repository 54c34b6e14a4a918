"""What the original programs need of the lists of names, call by call.

    originals_names.py [Class[.test]...] --master URL --servers URL,URL --ca FILE [--original] ...

originals_testing.py says what the options do. One source for Python 2.7 and Python 3.
"""

import os
import pickle
import stat
import sys
import threading
import time

from ht_proxy import PYTHON_2, native, xmlrpc_client
from originals import make_files, make_memory
from originals_testing import ARGS, Calls, attributes, main, ours

Binary = xmlrpc_client.Binary


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


if __name__ == "__main__":
    main()
