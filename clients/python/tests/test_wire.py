"""The golden vectors of test/conformance/wire, which every library reads."""

import base64
import json
import socket
import struct
import threading
import unittest
from pathlib import Path

import support

import lingpai
from lingpai._connect import MESSAGE_MAX, Connection, _error_of, _object
from lingpai._options import settings_of
from lingpai.testing import fixed_source

VECTORS = json.loads((Path(__file__).resolve().parents[3] / "test/conformance/wire/vectors.json").read_text(encoding="utf-8"))
LIFE = {"TOKEN_STATUS_EXPIRED": "EXPIRED", "TOKEN_STATUS_PENDING": "PENDING"}


class TestMessages(unittest.TestCase):
    def test_each_says_what_it_should(self):
        for vector in VECTORS["messages"]:
            message, expect = _object(json.dumps(vector["json"]).encode()), vector["expect"]
            with self.subTest(vector["name"]), support.Clock().driven() as clock:
                source = fixed_source("wx1")
                client = source._client
                after = None
                if vector["message"] == "WatchTokenResponse":
                    after = client._take(message)
                elif vector["message"] == "ForceRefreshResponse":
                    client._unary = lambda method, request, message=message: message
                    self.assertEqual(source.report(lingpai.Token("REFUSED", 0)).outcome, expect["outcome"])
                else:
                    source._take(message["state"], message["serverTime"])
                if expect.get("event") == "goaway":
                    self.assertEqual(after, max(0.1, expect["reconnectAfterMs"] / 1000))
                    continue
                self.assertIsNone(after)
                if expect.get("event") == "removed":
                    self.assertEqual(source._held.reason, "REMOVED")
                elif "generation" in expect:
                    self.expect_state(source, expect, clock.now)
                else:
                    self.assertEqual(source._stats()["generation"], "0")

    def expect_state(self, source, expect, now):
        stats = source._stats()
        self.assertEqual((stats["generation"], stats["tokenId"] or None), (expect["generation"], expect["tokenId"]))
        if expect["tokenId"] is None:
            self.assertEqual((stats["reason"], source._held.words), (expect["status"], expect.get("statusReason", "")))
            return
        token = source.token()
        self.assertEqual(token.expires_at and round((token.expires_at - now) * 1000), expect["lifeMs"])
        if "previousId" in expect:
            self.assertEqual(token.previous.id, expect["previousId"])
            self.assertEqual(round((token.previous.expires_at - now) * 1000), expect["previousLifeMs"])
        else:
            self.assertIsNone(token.previous)

    def test_values_have_a_bound(self):
        for vector in VECTORS["limits"]["values"]:
            with self.subTest(vector["name"]):
                source = fixed_source("wx1")
                code = ""
                try:
                    source._client._take(vector["json"])
                except lingpai.RpcError as error:
                    code = error.code
                is_accepted = vector["expect"]["isAccepted"]
                self.assertEqual((isinstance(source._held, lingpai.Token), code), (is_accepted, "" if is_accepted else "INTERNAL"))


class TestErrors(unittest.TestCase):
    def test_each_says_what_it_should(self):
        for vector in VECTORS["errors"]:
            expect = vector["expect"]
            envelope = base64.b64decode(vector["connectEndStream"])
            self.assertEqual(envelope[0], 2)
            for error in (vector["connectError"], _object(envelope[5:])["error"]):
                with self.subTest(vector["name"]):
                    read = _error_of(error, "UNKNOWN")
                    self.assertEqual(
                        (read.code, read.reason, round(read.retry_after * 1000)), (expect["code"], expect["reason"] or "", expect["retryMs"] or 0)
                    )
                    self.assertEqual(read.app, expect.get("app") or "")
                    self.assertTrue(read.words.startswith(expect["message"]))


class WithPeer(unittest.TestCase):
    """A connection whose other end a test holds."""

    def setUp(self):
        options = {name: None for name in ("ca", "cert", "cert_key", "key", "key_file", "get_key", "on_event", "timing")}
        settings = settings_of("http://127.0.0.1:1", apps=["wx1"], start_timeout=1.0, start_optional=True, plaintext=False, **options)
        self.connection = support.connection_of(settings)
        self.connection._socket, self.peer = socket.socketpair()
        self.connection._socket.settimeout(support.PATIENCE)
        self.addCleanup(self.connection.close)
        self.addCleanup(self.peer.close)

    def answer(self, content_type, body):
        """Sends an answer in chunks of a few bytes."""

        def send():
            peer.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for at in range(0, len(body), 7):
                part = body[at : at + 7]
                peer.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            peer.sendall(b"0\r\n\r\n")

        peer = self.peer
        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        self.addCleanup(sending.join)


class TestEnvelopes(WithPeer):
    def test_they_are_read_however_they_are_cut(self):
        messages = [vector["json"] for vector in VECTORS["messages"] if vector["message"] == "WatchTokenResponse"]
        packed = [json.dumps(message).encode() for message in messages]
        error = base64.b64decode(VECTORS["errors"][0]["connectEndStream"])
        self.answer("application/connect+json", b"".join(struct.pack(">BI", 0, len(body)) + body for body in packed) + error)
        read = []
        with self.assertRaisesRegex(lingpai.RpcError, VECTORS["errors"][0]["expect"]["reason"]):
            for message in self.connection.stream("WatchToken", {}, None):
                read.append(message)
        self.assertEqual(read, messages)

    def test_one_that_comes_in_chunks_of_a_byte_costs_as_much_as_it_is_long(self):
        def seconds(size):
            body = struct.pack(">BI", 0, size) + b'{"a":"' + b"x" * (size - 8) + b'"}'
            answer = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
            self.connection._buffer = bytearray(answer)  # all at once: what counts is what is done with it
            self.connection._head = lambda: (200, {"content-type": "application/connect+json", "transfer-encoding": "chunked"})
            self.connection._post = lambda *_: None
            start = support.time.thread_time()
            self.assertEqual(len(next(self.connection.stream("WatchToken", {}, None))["a"]), size - 8)
            return support.time.thread_time() - start

        self.assertLess(min(seconds(80_000) for _ in range(3)), 20 * min(seconds(10_000) for _ in range(3)))

    def test_what_is_too_long_is_refused_before_it_is_read(self):
        for vector in VECTORS["limits"]["envelopes"]:
            with self.subTest(vector["length"]):
                self.assertEqual(vector["length"] <= MESSAGE_MAX, vector["isAccepted"])
                self.setUp()
                self.answer("application/connect+json", base64.b64decode(vector["head"]))
                words = "the stream ended" if vector["isAccepted"] else f"a message of {vector['length']} bytes"
                with self.assertRaisesRegex(lingpai.RpcError, words):
                    list(self.connection.stream("WatchToken", {}, None))

    def test_an_answer_that_is_none_of_connect_is_an_error(self):
        for answer, words in (
            (b"\x00\x00\x12\x04\x00", "127.0.0.1:1 closed the connection without an answer: is it the broker's HTTP port"),  # gRPC's port
            (b"", "127.0.0.1:1 closed the connection without an answer: is it the broker's HTTP port"),
            (b"HTTP/1.1 200 OK\r\n", "the connection was closed"),
            (b"\x00\x00\x12\x04\x00\n", "not HTTP/1.1: is this the HTTP port"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere\r\n\r\n", "HTTP status 302: is this the broker's HTTP port"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "length is no number"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "more than a message may have"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no length"),
            (b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000, "too long"),
            (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, "too long"),
        ):
            with self.subTest(words):
                self.setUp()
                threading.Thread(
                    target=lambda answer=answer, peer=self.peer: (peer.sendall(answer), peer.shutdown(socket.SHUT_WR)), daemon=True
                ).start()
                self.connection._post = lambda *_: None  # the peer may have hung up
                with self.assertRaisesRegex(lingpai.RpcError, words):
                    self.connection.unary("Get", {}, None)


class TestAddresses(WithPeer):
    def test_each_address_of_a_name_has_its_share_of_the_time(self):
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (f"127.0.0.{last}", 1)) for last in (1, 2, 3)]
        shares = []

        def silent(plain, address, seconds):
            plain.close()
            shares.append((address[0], round(seconds, 3)))
            clock.now += seconds
            raise TimeoutError("timed out")

        self.connection._connect = silent
        found = support.mock.patch("socket.getaddrinfo", return_value=addresses)
        with support.Clock().driven() as clock, found, self.assertRaisesRegex(lingpai.RpcError, "127.0.0.1:1: timed out"):
            self.connection.deadline = clock.now + 25
            self.connection.open()
        self.assertEqual(shares, [("127.0.0.1", 1.667), ("127.0.0.2", 1.667), ("127.0.0.3", 1.667)])

    def test_a_look_up_takes_nothing_of_the_time_to_connect(self):
        def slow(*_, flags, **__):
            if flags:
                raise socket.gaierror(socket.EAI_NONAME, "a name")
            clock.now += 4.999
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))]

        def shown(plain, address, seconds):
            plain.close()
            shares.append(round(seconds, 3))

        self.connection._connect = shown
        shares = []
        with support.Clock().driven() as clock, support.mock.patch("socket.getaddrinfo", slow):
            self.connection.deadline = clock.now + 25
            self.connection.open()
            self.assertEqual(shares, [5.0])
            self.connection.deadline = clock.now + 10  # which bounds all of it
            self.connection.open()
            self.connection.deadline = clock.now + 6
            self.connection.open()
        self.assertEqual(shares, [5.0, 5.0, 1.001])

    def test_a_look_up_that_hangs_is_left(self):
        late = threading.Event()
        self.addCleanup(late.set)

        def hangs(*_, flags, **__):
            if flags:
                raise socket.gaierror(socket.EAI_NONAME, "a name")
            late.wait(support.PATIENCE * 2)
            return []

        with support.mock.patch("socket.getaddrinfo", hangs):
            self.connection.deadline = support.time.monotonic() + 0.01
            with self.assertRaisesRegex(lingpai.RpcError, "UNAVAILABLE: 127.0.0.1: its address did not come in time"):
                support.in_time(self.connection.open)
            self.connection.deadline += support.PATIENCE * 2
            threading.Timer(0.01, self.connection.abort).start()
            with self.assertRaises(lingpai.Closed):
                support.in_time(self.connection.open)
            late.set()

    def test_a_name_that_cannot_be_looked_up_is_an_error(self):
        for thrown in (socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")):
            failing, words = support.mock.patch("socket.getaddrinfo", side_effect=thrown), "UNAVAILABLE: 127.0.0.1: (Name or|label too long)"
            with self.subTest(str(thrown)), failing, self.assertRaisesRegex(lingpai.RpcError, words):
                self.connection.open()


class TestRequests(WithPeer):
    def test_each_is_sent_as_it_should(self):
        for vector in VECTORS["requests"]:
            with self.subTest(vector["name"]):
                self.setUp()
                self.connection._post("Get", "application/json", json.dumps(vector["json"]).encode(), "KEY")
                head, _, body = self.peer.recv(65536).partition(b"\r\n\r\n")
                self.assertEqual(json.loads(body), vector["json"])
                self.assertIn(b"\r\nAuthorization: Bearer KEY", head)
                self.assertIn(b"\r\nContent-Length: %d\r\n" % len(body), head)

    def test_generations_are_decimal_strings(self):
        client = lingpai.Client("http://127.0.0.1:1", apps=["wx1"], start_optional=True)
        client.close()
        seen = []

        class Asked(Connection):
            def open(self):
                pass

            def stream(self, method, request, bearer):
                seen.append((method, request))
                raise lingpai.RpcError("UNAVAILABLE", "enough")

        with support.mock.patch("lingpai._client.Connection", Asked), support.mock.patch.object(client, "_state", "STALE"):
            client.app("wx1")._put(lingpai.Token("TOKEN", 2**63 + 7))
            client._attempt(["wx1"], support.mock.Mock(after=lambda *_: 1.0))
        self.assertEqual(seen, [("WatchToken", next(vector["json"] for vector in VECTORS["requests"] if "2^63" in vector["name"]))])


if __name__ == "__main__":
    unittest.main()
