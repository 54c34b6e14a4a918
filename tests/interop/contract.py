"""The contract of the classic methods, asked of running servers as any program would ask.

    contract.py --master URL --chunk URL --ca FILE [--original]

The master must be fresh, and not the one at which the chunk server registered: the sizes of its
servers are compared. --original leaves out what Python's own server does not do. One source for
Python 2.7 and Python 3.
"""

import argparse
import base64
import pickle
import ssl
import sys
import time
import unittest

from ht_proxy import PYTHON_2, connect, xmlrpc_client

try:
    from http.client import HTTPSConnection
except ImportError:
    from httplib import HTTPSConnection

Binary = xmlrpc_client.Binary
Fault = xmlrpc_client.Fault
ARGS = None
BOTH = ("get", "put", "read_file", "write_file", "print_content")
MASTER = BOTH + ("getServer", "changeSize", "register")
SYSTEM = ("system.listMethods", "system.methodHelp", "system.methodSignature", "system.multicall")

ours = unittest.skipIf("--original" in sys.argv, "Python's own server does not do this")


def raw_call(url, body, **changes):
    """Posts a body as it is; gives the status and the body of the answer."""
    context = ssl.create_default_context(cafile=ARGS.ca)
    connection = HTTPSConnection(url.split("//")[1], context=context, timeout=20)
    path = changes.pop("path", "/RPC2")
    method = changes.pop("method", "POST")
    headers = dict({"Content-Type": "text/xml"}, **changes)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        # A refusal may end the connection without TLS's goodbye, at which Python 2 stumbles.
        return answer.status, answer.read() if method == "POST" else b""
    finally:
        connection.close()


def call_xml(method, *params):
    """A call whose parameters are XML already."""
    parts = "".join("<param>%s</param>" % param for param in params)
    return ("<?xml version='1.0'?><methodCall><methodName>%s</methodName><params>%s</params>"
            "</methodCall>" % (method, parts)).encode("utf-8")


def call_in(codec, declaration, method, *params):
    """The same with another declaration, in that encoding."""
    _, call = call_xml(method, *params).decode("utf-8").split(u"?>", 1)
    return (declaration + call).encode(codec)


def declaration_of(encoding):
    """The declaration that Python writes."""
    return u"<?xml version='1.0' encoding='%s'?>\n" % encoding


def pickled_file(size, server):
    """A file's dict of attributes, as HtProxy stores it."""
    file = {"st_mode": 0o100644, "st_nlink": 1, "st_size": size, "st_mtime": 1.5,
            "contents": server}
    return Binary(pickle.dumps(file, 0))


def types_in(value):
    """The types of a value and of everything in it: True equals 1, and 1.0 too."""
    if isinstance(value, list):
        return [types_in(item) for item in value]
    if isinstance(value, dict):
        return sorted((name, types_in(item)) for name, item in value.items())
    return type(value)


class Contract(unittest.TestCase):
    """Every test has keys of its own, as all share two servers."""

    def setUp(self):
        self.master = self.connect(ARGS.master)
        self.chunk = self.connect(ARGS.chunk)

    def connect(self, url, **options):
        """A proxy whose connection ends with the test."""
        server = connect(url, ARGS.ca, **options)
        self.addCleanup(server("close"))
        return server

    def assertFault(self, call, *arguments):
        """The call fails with a fault that says something, and the server goes on."""
        with self.assertRaises(Fault) as caught:
            call(*arguments)
        self.assertTrue(caught.exception.faultString.strip())
        self.assertNotEqual(caught.exception.faultCode, 0)
        self.assertEqual(self.master.get("no such key"), {})
        self.assertEqual(self.chunk.get("no such key"), {})
        return caught.exception

    def assertReturns(self, server, value):
        """A value comes back from get as the type it was put as."""
        self.assertIs(server.put("typed", value, 100), True)
        back = server.get("typed")["value"]
        self.assertEqual(back, value)
        self.assertEqual(types_in(back), types_in(value))


class Tables(Contract):
    """get and put, at both servers."""

    def test_values_come_back_as_the_type_they_were_put_as(self):
        values = [
            0, 1, -1, 2 ** 31 - 1, -2 ** 31, True, False, 0.1, -1.5e300, 5e-324, 1.0,
            "", "text", " \t spaces \n and lines \n ", "<a>&amp;]]></a>",
            Binary(b""), Binary(bytes(bytearray(range(256)))),
            xmlrpc_client.DateTime("19980717T14:08:55"),
            [], {}, [1, "two", [3.0, []]], {"a": {"b": [True, {"": 7}]}, " c ": " d "},
        ]
        for server in (self.master, self.chunk):
            for value in values:
                self.assertReturns(server, value)

    def test_text_beyond_ascii_comes_back(self):
        text = u"gr\u00fc\u00df \u20ac \U0001f600"
        for server in (self.master, self.chunk):
            server.put(text, {text: text}, 100)
            self.assertEqual(server.get(text)["value"], {text: text})

    @ours
    def test_nil_comes_back(self):
        for url in (ARGS.master, ARGS.chunk):
            server = self.connect(url, allow_none=True)
            self.assertReturns(server, None)
            self.assertReturns(server, [None, {"a": None}])

    @ours
    def test_a_number_of_64_bits_comes_back(self):
        number = "<value><i8>%d</i8></value>" % (2 ** 62)
        status, _ = raw_call(ARGS.chunk, call_xml("put", "<value>long</value>", number,
                                                  "<value><int>100</int></value>"))
        self.assertEqual(status, 200)
        status, answer = raw_call(ARGS.chunk, call_xml("get", "<value>long</value>"))
        self.assertEqual(status, 200)
        self.assertIn(b"<i8>4611686018427387904</i8>", answer)

    def test_a_large_value_comes_back(self):
        for value in (Binary(b"\x00\xff<&" * (1 << 20)), "a<&\t" * (1 << 20)):
            self.chunk.put("large", value, 100)
            self.assertEqual(self.chunk.get("large")["value"], value)
        self.chunk.put("large", "", 0)

    def test_a_string_and_a_binary_of_the_same_bytes_are_one_key(self):
        name = u"/gr\u00fc\u00df"
        for server in (self.master, self.chunk):
            server.put(name, "by string", 100)
            self.assertEqual(server.get(Binary(name.encode("utf-8")))["value"], "by string")
            server.put(Binary(name.encode("utf-8")), "by binary", 100)
            self.assertEqual(server.get(name)["value"], "by binary")

    def test_a_key_may_be_any_bytes(self):
        key = Binary(bytes(bytearray(range(256))))
        self.chunk.put(key, 1, 100)
        self.assertEqual(self.chunk.get(key)["value"], 1)

    @ours
    def test_an_empty_key_is_refused(self):
        for server in (self.master, self.chunk):
            for key in ("", Binary(b"")):
                self.assertIn("empty", self.assertFault(server.put, key, 2, 100).faultString)
                self.assertIn("empty", self.assertFault(server.get, key).faultString)

    def test_an_absent_key_gives_an_empty_struct(self):
        self.assertEqual(self.master.get("absent"), {})
        self.assertEqual(self.chunk.get(Binary(b"absent")), {})

    def test_an_entry_has_whole_seconds_left(self):
        for server in (self.master, self.chunk):
            server.put("ttl", "x", 10000)
            entry = server.get("ttl")
            self.assertEqual(sorted(entry), ["ttl", "value"])
            self.assertIsInstance(entry["ttl"], int)
            self.assertTrue(9990 <= entry["ttl"] <= 10000, entry)

    def test_put_replaces_value_and_ttl(self):
        for server in (self.master, self.chunk):
            server.put("replaced", "old", 10000)
            server.put("replaced", 5, 50)
            entry = server.get("replaced")
            self.assertEqual(entry["value"], 5)
            self.assertTrue(40 <= entry["ttl"] <= 50, entry)

    def test_ttl_0_deletes(self):
        for server in (self.master, self.chunk):
            server.put("deleted", "x", 100)
            self.assertIs(server.put("deleted", "", 0), True)
            self.assertEqual(server.get("deleted"), {})
            self.assertIs(server.put("deleted", "", 0), True)

    def test_an_entry_expires(self):
        for server in (self.master, self.chunk):
            put_at = time.time()
            server.put("expiring", "x", 2)
            self.assertEqual(server.get("expiring")["value"], "x")
            while server.get("expiring"):
                self.assertLess(time.time(), put_at + 10, "it never expires")
                time.sleep(0.05)
            self.assertGreater(time.time(), put_at + 1.9, "it expired too early")

    def test_a_ttl_may_have_a_fraction(self):
        for server in (self.master, self.chunk):
            put_at = time.time()
            self.assertIs(server.put("fraction", "x", 1.5), True)
            self.assertIn(server.get("fraction")["ttl"], (0, 1))
            while server.get("fraction"):
                self.assertLess(time.time(), put_at + 10, "it never expires")
                time.sleep(0.05)
            self.assertGreater(time.time(), put_at + 1.4, "it expired too early")
            server.put("fraction", "x", 100)
            server.put("fraction", "x", 0.0)
            self.assertEqual(server.get("fraction"), {})

    def test_numbers_are_keys_of_their_own(self):
        for server in (self.master, self.chunk):
            for key in (7, -1, 2.5, True):
                server.put(key, "number %r" % key, 100)
            server.put("7", "text", 100)
            self.assertEqual(server.get(7)["value"], "number 7")
            self.assertEqual(server.get(7.0)["value"], "number 7")
            self.assertEqual(server.get(-1)["value"], "number -1")
            self.assertEqual(server.get(2.5)["value"], "number 2.5")
            self.assertEqual(server.get(1)["value"], "number True")
            self.assertEqual(server.get("7")["value"], "text")
            server.put(7, "", 0)
            self.assertEqual(server.get(7), {})
            self.assertEqual(server.get("7")["value"], "text")

    def test_the_longest_ttl_is_taken(self):
        self.chunk.put("forever", "x", 2 ** 31 - 1)
        self.assertGreater(self.chunk.get("forever")["ttl"], 2 ** 31 - 100)


class Files(Contract):
    """write_file, read_file and print_content, at both servers."""

    def test_a_table_is_dumped_and_loaded(self):
        for server in (self.master, self.chunk):
            server.put("kept", Binary(b"\x00before"), 1000)
            server.put("kept too", [1, {"a": 0.5}], 1000)
            self.assertIs(server.write_file("dump"), True)
            server.put("kept", "after", 1000)
            server.put("new", 1, 1000)
            self.assertIs(server.read_file("dump"), True)
            self.assertEqual(server.get("kept")["value"], Binary(b"\x00before"))
            self.assertTrue(990 <= server.get("kept")["ttl"] <= 1000)
            self.assertEqual(server.get("kept too")["value"], [1, {"a": 0.5}])
            self.assertEqual(server.get("new"), {})
            server.put("kept", "after", 1000)
            self.assertIs(server.write_file("./dump"), True)
            server.put("kept", "later", 1000)
            self.assertIs(server.read_file("dump"), True)
            self.assertEqual(server.get("kept")["value"], "after")

    def test_a_path_in_a_file_name_is_a_fault(self):
        names = ["", ".", "..", "/", "/etc/passwd", "../dump", "a/b", "./a/b", "./", "dump/"]
        for server in (self.master, self.chunk):
            for name in names:
                self.assertFault(server.read_file, name)
                self.assertFault(server.write_file, name)
        self.assertFault(self.master.write_file, Binary(b"../dump"))

    @ours
    def test_a_file_name_has_no_strange_bytes(self):
        # It is not only that XML cannot carry it as text: no file may get such a name.
        for name in (b"a\x00b", b"\xff\xfe"):
            self.assertFault(self.chunk.write_file, Binary(name))

    def test_a_missing_file_is_a_fault(self):
        for server in (self.master, self.chunk):
            self.assertFault(server.read_file, "never written")

    def test_content_is_printed(self):
        self.master.put("printed at the master", "x", 100)
        self.chunk.put("printed at the chunk server", "x", 100)
        self.assertIs(self.master.print_content(), True)
        self.assertIs(self.chunk.print_content(), True)


class Log(Contract):
    """log.status and log.show, at both servers, for any XML-RPC library."""

    @ours
    def test_log_and_backup_can_be_seen(self):
        for server, role in ((self.master, "master"), (self.chunk, "chunk")):
            server.put("logged", "value", 100)
            status = server.log.status()
            self.assertEqual(status["role"], role)
            self.assertTrue(0 < status["operations"] < status["backup_every"], status)
            self.assertGreaterEqual(status["backup_entries"], 0)
            last = server.log.show(1)
            self.assertEqual(len(last), 1)
            number = last[0].pop("number")
            self.assertEqual(last[0], {"what": "put", "key": "logged", "size": 5, "more": 0})
            server.put("logged", "", 0)
            self.assertEqual(server.log.show()[-1],
                             {"number": number + 1, "what": "delete", "key": "logged", "more": 0})
            self.assertFault(server.log.show, -1)
            self.assertFault(server.log.status, 1)

    @ours
    def test_a_dump_is_a_backup_and_its_age_is_told(self):
        for server in (self.master, self.chunk):
            server.put("kept", "value", 100)
            server.write_file("backup")
            server.read_file("backup")
            status = server.log.status()
            self.assertEqual(status["operations"], 0)
            self.assertGreater(status["backup_entries"], 0)
            self.assertTrue(0 <= status["backup_age"] < 60, status)
            self.assertLess(abs(status["backup_time"] - time.time()), 60)


class Placement(Contract):
    """getServer, changeSize and register: one story, as the servers' sizes are its subject."""

    def grow(self, path, server, size):
        """What a client does with the master when a file gets its size."""
        self.assertIs(self.master.changeSize(path, server, size), True)
        self.assertIs(self.master.put(path, pickled_file(size, server), 10000), True)

    def test_the_smallest_server_is_chosen(self):
        one, two = "https://localhost:1", "https://localhost:2"
        self.assertEqual(self.master.getServer(), "")
        self.assertFault(self.master.changeSize, "/f", one, 1)

        self.assertIs(self.master.register(one), True)
        self.assertEqual(self.master.getServer(), one)
        self.assertIs(self.master.register(two), True)
        self.grow("/f", one, 100)
        self.assertEqual(self.master.getServer(), two)
        self.grow("/g", two, 200)
        self.assertEqual(self.master.getServer(), one)

        # A known server keeps its size.
        self.assertIs(self.master.register(two), True)
        self.assertEqual(self.master.getServer(), one)

        # One has 100 - 100 + 300, two has 200: a file that grows is counted once.
        self.grow("/f", one, 300)
        self.assertEqual(self.master.getServer(), two)
        # One has 300, two has 200 - 200 + 301; then 299: the old size is the stored dict's.
        self.grow("/g", two, 301)
        self.assertEqual(self.master.getServer(), one)
        self.grow("/g", two, 299)
        self.assertEqual(self.master.getServer(), two)

        # A key without a dict, or with any other value, counts as size 0.
        self.master.put("/other", "no pickle", 100)
        self.assertIs(self.master.changeSize("/other", two, 50), True)
        self.assertEqual(self.master.getServer(), one)
        # Deleting as HtProxy does gives everything back: one has 0 again, two 349.
        self.assertIs(self.master.changeSize("/f", one, 0), True)
        self.assertIs(self.master.put("/f", pickled_file(0, one), 0), True)
        self.grow("/h", one, 348)
        self.assertEqual(self.master.getServer(), one)
        self.grow("/h", one, 350)
        self.assertEqual(self.master.getServer(), two)

        self.expiry_gives_the_size_back(one, two)
        self.assertFault(self.master.changeSize, "/f", "https://localhost:3", 1)

    def expiry_gives_the_size_back(self, one, two):
        """One has 350, two 349; a file of 10 on two expires when it is touched."""
        self.assertIs(self.master.changeSize("/brief", two, 10), True)
        self.master.put("/brief", pickled_file(10, two), 1)
        self.assertEqual(self.master.getServer(), one)
        deadline = time.time() + 10
        while self.master.get("/brief"):
            self.assertLess(time.time(), deadline)
            time.sleep(0.05)
        self.assertEqual(self.master.getServer(), two)

    @ours
    def test_a_name_that_is_no_url_is_a_fault(self):
        for name in ("", "localhost:1", "http://localhost:1", "https://a b:1", 7, ["https://a:1"]):
            self.assertFault(self.master.register, name)


class Introspection(Contract):
    """The system methods."""

    def test_methods_are_listed(self):
        for server, names in ((self.master, MASTER), (self.chunk, BOTH)):
            listed = server.system.listMethods()
            self.assertEqual(sorted(set(names + SYSTEM) - set(listed)), [])
        self.assertNotIn("getServer", self.chunk.system.listMethods())

    def test_methods_have_help(self):
        for name in BOTH:
            self.assertTrue(self.chunk.system.methodHelp(name).strip())

    @ours
    def test_methods_have_signatures(self):
        for name in self.master.system.listMethods():
            signatures = self.master.system.methodSignature(name)
            self.assertIsInstance(signatures, list)
            for signature in signatures:
                self.assertTrue(signature)
                self.assertTrue(all(isinstance(type_name, str) for type_name in signature))
        self.assertIn(["boolean", "string", "string", "int"],
                      self.master.system.methodSignature("put"))
        self.assertFault(self.master.system.methodSignature, "nonsense")
        self.assertFault(self.master.system.methodHelp, "nonsense")

    def test_many_calls_go_in_one(self):
        calls = xmlrpc_client.MultiCall(self.chunk)
        calls.put("multi", Binary(b"\x00"), 100)
        calls.get("multi")
        calls.nonsense()
        calls.get("multi")
        answers = calls()
        self.assertIs(answers[0], True)
        self.assertEqual(answers[1]["value"], Binary(b"\x00"))
        with self.assertRaises(Fault):
            answers[2]
        self.assertEqual(answers[3]["value"], Binary(b"\x00"))

    @ours
    def test_a_multicall_does_not_nest(self):
        inner = {"methodName": "system.multicall", "params": [[]]}
        answer = self.chunk.system.multicall([inner, {"methodName": "get"}, 7])
        self.assertEqual([type(item) for item in answer], [dict, dict, dict])
        self.assertTrue(all(item["faultCode"] and item["faultString"] for item in answer))


class WrongCalls(Contract):
    """What is no call, or not a right one, gets an answer that says so; the server goes on."""

    def test_an_unknown_method_is_a_fault(self):
        self.assertIn("nonsense", self.assertFault(self.master.nonsense).faultString)
        self.assertFault(self.chunk.getServer)

    def test_a_wrong_count_of_arguments_is_a_fault(self):
        for server in (self.master, self.chunk):
            self.assertFault(server.get)
            self.assertFault(server.get, "a", "b")
            self.assertFault(server.put, "a", "b")
            self.assertFault(server.put, "a", "b", 1, 1)
            self.assertFault(server.print_content, 1)
        self.assertFault(self.master.getServer, "x")
        self.assertFault(self.master.changeSize, "x")

    @ours
    def test_a_wrong_type_of_argument_is_a_fault(self):
        for server in (self.master, self.chunk):
            for key in ([], {}, ["a"]):
                self.assertFault(server.get, key)
                self.assertFault(server.put, key, "x", 1)
            for ttl in ("ten", [], {}, Binary(b"1"), ""):
                self.assertFault(server.put, "a", "x", ttl)
        self.assertFault(self.master.changeSize, "/f", "https://localhost:1", "many")
        self.assertFault(self.master.changeSize, "/f", "https://localhost:1", -1)

    @ours
    def test_a_body_that_is_no_call_is_answered(self):
        deep = "<value><array><data>" * 5000 + "</data></array></value>" * 5000
        bomb = ("<?xml version='1.0'?><!DOCTYPE b [<!ENTITY a 'aaaaaaaaaa'>"
                + "".join("<!ENTITY %s '%s'>" % (name, ("&%s;" % before) * 10)
                          for before, name in zip("abcdefgh", "bcdefghi"))
                + "]><methodCall><methodName>get</methodName><params><param><value>&i;</value>"
                  "</param></params></methodCall>")
        bodies = [b"", b"nonsense", b"<", b"\x00\xff", b"<methodCall>", b"<methodResponse/>",
                  b"<?xml version='1.0'?>", call_xml("get", "<value><int>x</int></value>"),
                  call_xml("get", "<value><base64>!!</base64></value>"),
                  call_xml("get", "<value><strange>1</strange></value>"),
                  call_xml("get", "<value>&undefined;</value>"),
                  call_xml("put", "<value>a</value>", deep, "<value><int>1</int></value>"),
                  bomb.encode("ascii"), call_xml("get", "<value>a</value>")[:-20],
                  call_xml("get", "<value>a</value>") * 2, call_xml("")]
        for body in bodies:
            status, answer = raw_call(ARGS.chunk, body)
            if status == 200:
                with self.assertRaises(Fault, msg=body[:80]):
                    xmlrpc_client.loads(answer)
            else:
                self.assertTrue(400 <= status < 500, (status, body[:80]))
                self.assertTrue(answer.strip(), body[:80])
            self.assertEqual(self.chunk.get("no such key"), {})

    def test_a_request_that_is_no_post_gets_a_status(self):
        body = call_xml("get", "<value>a</value>")
        self.assertEqual(raw_call(ARGS.chunk, body)[0], 200)
        self.assertEqual(raw_call(ARGS.chunk, body, path="/")[0], 200)
        self.assertEqual(raw_call(ARGS.chunk, body, path="/elsewhere")[0], 404)
        self.assertIn(raw_call(ARGS.chunk, None, method="GET")[0], (405, 501))
        self.assertEqual(self.chunk.get("no such key"), {})

    @ours
    def test_a_body_over_the_limit_is_refused_before_it_is_sent(self):
        status, _ = raw_call(ARGS.chunk, None, **{"Content-Length": str(1 << 40)})
        self.assertEqual(status, 413)
        self.assertEqual(self.chunk.get("no such key"), {})

    def test_one_connection_carries_many_calls(self):
        for number in range(50):
            self.chunk.put("many", number, 100)
            self.assertEqual(self.chunk.get("many")["value"], number)

    def test_xml_in_other_forms_means_the_same(self):
        self.chunk.put("form", "<&>", 100)
        encoded = base64.b64encode(b"form").decode("ascii")
        for value in ("<value>form</value>", "<value><string>form</string></value>",
                      "<value><string>&#102;o&#x72;m</string></value>",
                      "<value><![CDATA[form]]></value>",
                      "\n <!-- here --> <value> <base64>\n %s\n %s </base64> </value>\n"
                      % (encoded[:3], encoded[3:])):
            status, answer = raw_call(ARGS.chunk, call_xml("get", value))
            self.assertEqual(status, 200)
            self.assertEqual(xmlrpc_client.loads(answer)[0][0]["value"], "<&>", value)


class Encodings(Contract):
    """Bodies in other encodings than UTF-8, as their declarations name them."""

    name = u"gr\xf6\xdfe"

    def answer_to(self, body):
        """What the chunk server answers to a body."""
        status, answer = raw_call(ARGS.chunk, body)
        self.assertEqual(status, 200)
        return xmlrpc_client.loads(answer)[0][0]

    def assertBodyIsFault(self, body):
        """A body is answered with a fault, and the server goes on."""
        with self.assertRaises(Fault, msg=body[:80]) as caught:
            self.answer_to(body)
        self.assertEqual(self.chunk.get("no such key"), {})
        return caught.exception.faultString

    def test_a_proxy_may_write_in_another_encoding(self):
        texts = {"iso-8859-1": self.name, "latin-1": self.name,
                 "windows-1252": self.name + u" \u20ac"}
        if not PYTHON_2:
            # In the other, only the texts would be in UTF-16, and the XML around them in ASCII.
            texts.update({"utf-16": self.name + u" \u20ac \U0001f600"})
        for url in (ARGS.master, ARGS.chunk):
            plain = self.connect(url)
            for encoding, text in sorted(texts.items()):
                other = self.connect(url, encoding=encoding)
                value = {text: [text, Binary(b"\x00\xff")], "a": 1}
                self.assertIs(other.put(text, value, 100), True)
                for server in (plain, other):
                    self.assertEqual(server.get(text)["value"], value, encoding)
                self.assertEqual(plain.get(Binary(text.encode("utf-8")))["value"], value)
                plain.put(text, "", 0)
                self.assertEqual(other.get(text), {})

    def test_a_body_is_read_in_the_encoding_that_it_declares(self):
        self.chunk.put(self.name, "found", 100)
        for name, codec in (("iso-8859-1", "iso-8859-1"), ("ISO-8859-1", "iso-8859-1"),
                            ("windows-1252", "windows-1252"), ("Windows-1252", "windows-1252"),
                            ("iso-8859-15", "iso-8859-15"), ("utf-8", "utf-8"),
                            ("UTF-8", "utf-8-sig"), ("utf-16", "utf-16"), ("UTF-16", "utf-16"),
                            ("utf-16", "utf-16-le"), ("utf-16", "utf-16-be")):
            body = call_in(codec, declaration_of(name), "get", u"<value>%s</value>" % self.name)
            self.assertEqual(self.answer_to(body)["value"], "found", (name, codec))

    def test_a_declaration_may_be_written_in_many_ways(self):
        self.chunk.put(self.name, "found", 100)
        for declaration in (u'<?xml version="1.0" encoding="iso-8859-1"?>\n',
                            u'<?xml version="1.0" encoding="ISO-8859-1" ?>\r\n',
                            u"<?xml version='1.0' encoding='Iso-8859-1' standalone='yes'?>",
                            u"<?xml\n  version = '1.0'\n  encoding = \"iso-8859-1\"\n?>\n\n"):
            body = call_in("iso-8859-1", declaration, "get", u"<value>%s</value>" % self.name)
            self.assertEqual(self.answer_to(body)["value"], "found", declaration)

    def test_bytes_mean_what_the_declared_encoding_says(self):
        every_byte = bytes(bytearray(range(0x80, 0x100))).decode("iso-8859-1")
        body = call_in("iso-8859-1", declaration_of("iso-8859-1"), "put", u"<value>bytes</value>",
                       u"<value>%s</value>" % every_byte, u"<value><int>100</int></value>")
        self.assertIs(self.answer_to(body), True)
        self.assertEqual(self.chunk.get("bytes")["value"], every_byte)
        euro = u"<value>10 \u20ac</value>"
        body = call_in("cp1252", declaration_of("windows-1252"), "put", u"<value>bytes</value>",
                       euro, u"<value><int>100</int></value>")
        self.assertIs(self.answer_to(body), True)
        self.assertEqual(self.chunk.get("bytes")["value"], u"10 \u20ac")

    @ours
    def test_encodings_of_several_bytes_are_read(self):
        text = u"\u65e5\u672c"
        for codec in ("shift_jis", "euc-jp", "iso-2022-jp", "gb18030", "gbk", "big5"):
            body = call_in(codec, declaration_of(codec), "put", u"<value>%s</value>" % text,
                           u"<value>%s</value>" % codec, u"<value><int>100</int></value>")
            self.assertIs(self.answer_to(body), True)
            self.assertEqual(self.chunk.get(text)["value"], codec)

    def test_contents_are_read_in_every_encoding(self):
        contents = bytes(bytearray(range(256))) * 4096
        text = base64.b64encode(contents).decode("ascii")
        for name in ("iso-8859-1", "utf-16"):
            body = call_in(name, declaration_of(name), "put", u"<value>%s</value>" % self.name,
                           u"<value><base64>%s</base64></value>" % text,
                           u"<value><int>100</int></value>")
            self.assertIs(self.answer_to(body), True)
            self.assertEqual(self.chunk.get(self.name)["value"], Binary(contents))
        self.chunk.put(self.name, "", 0)

    def test_what_cannot_be_read_is_a_fault(self):
        get = ("get", u"<value>%s</value>" % self.name)
        for name in ("klingon", "utf-7", "utf-32"):
            fault = self.assertBodyIsFault(call_in("iso-8859-1", declaration_of(name), *get))
            if "--original" not in sys.argv:
                self.assertIn(name, fault)
        # A declaration that lies, and bytes that are no characters.
        for name, codec in (("utf-16", "iso-8859-1"), ("us-ascii", "iso-8859-1"),
                            ("utf-8", "iso-8859-1"), ("utf-8", "utf-16")):
            self.assertBodyIsFault(call_in(codec, declaration_of(name), *get))
        self.assertBodyIsFault(call_in("utf-16", declaration_of("utf-16"), *get)[:-1])

    @ours
    def test_half_a_pair_is_a_fault(self):
        body = call_in("utf-16-le", declaration_of("utf-16"), "get", u"<value>half</value>")
        for unit in (b"\x00\xd8", b"\x00\xdc"):
            damaged = body.replace(u"half".encode("utf-16-le"), b"h\x00" + unit + b"f\x00")
            self.assertIn("UTF-16", self.assertBodyIsFault(damaged))


class Readme(unittest.TestCase):
    """The five lines that README shows, with this test's names in the place of its own."""

    def test_five_lines_of_python(self):
        context = ssl.create_default_context(cafile=ARGS.ca)
        master = xmlrpc_client.ServerProxy(ARGS.master, context=context)
        master.put("greeting", "hello", 60)
        self.assertEqual(master.get("greeting")["value"], "hello")
        self.assertIn("get", master.system.listMethods())
        master("close")()


def main():
    global ARGS
    parser = argparse.ArgumentParser(description="asks running servers for the contract")
    parser.add_argument("--master", required=True)
    parser.add_argument("--chunk", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--original", action="store_true")
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=sys.argv[:1] + rest)


if __name__ == "__main__":
    main()
