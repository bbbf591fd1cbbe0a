"""What the gRPC and HTTP/2 specifications say about requests that no official client sends."""

import gzip
import socket
import unittest

from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame, SettingsFrame
from lib.server import Echo
from lib.wire import ECHO, Wire, message


class Protocol(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Echo(streams_max=100).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def setUp(self):
        self.wire = Wire(self.server.port)
        self.addCleanup(self.wire.socket.close)

    def check(self, stream, status, text=None, http="200"):
        fields, _ = self.wire.answer(stream)
        self.assertEqual((fields.get(":status"), fields.get("grpc-status")), (http, str(status)), fields)
        if text is not None:
            self.assertEqual(fields.get("grpc-message"), text)
        # The connection is as good as before.
        fields, body = self.wire.answer(self.wire.call(b"still here"))
        self.assertEqual((fields["grpc-status"], body), ("0", message(b"still here")))
        return fields

    def test_an_ordinary_call(self):
        stream = self.wire.call(b"hello")
        first = self.wire.until(HeadersFrame, stream)
        self.assertEqual(first.fields, {":status": "200", "content-type": "application/grpc"})
        self.assertEqual(self.wire.until(DataFrame, stream).data, message(b"hello"))
        last = self.wire.until(HeadersFrame, stream)
        self.assertEqual(last.fields, {"grpc-status": "0"})
        self.assertIn("END_STREAM", last.flags)

    def test_te_may_be_missing(self):
        self.check(self.wire.call(b"x", drop=["te"]), 0)

    def test_subtypes_are_accepted(self):
        self.check(self.wire.call(b"x", content_type="application/grpc+proto"), 0)

    def test_wrong_content_types(self):
        for value in ["application/json", "application/grpc-web", "text/html"]:
            stream = self.wire.call(b"x", content_type=value)
            self.check(stream, 3, f'invalid gRPC request content-type "{value}"', http="415")
        self.check(self.wire.call(b"x", drop=["content-type"]), 3, http="415")

    def test_only_post(self):
        stream = self.wire.headers(method="GET", end=True)
        self.check(stream, 13, 'Received a HEADERS frame with :method "GET" which should be POST', http="405")

    def test_malformed_paths(self):
        self.check(self.wire.call(b"", path="/nothing"), 12, 'malformed method name: "/nothing"')
        self.check(self.wire.call(b"", path="/a.B/C?x=%25"), 12, "unknown service a.B")

    def test_timeouts(self):
        for value in ["x", "10", "123456789S", "-1S"]:
            self.check(self.wire.call(b"", grpc_timeout=value), 13, f'malformed grpc-timeout: "{value}"')
        self.check(self.wire.call(b"x", grpc_timeout="99999999H"), 0)
        stream = self.wire.call(b"for ever", path="/perdure.test.Echo/Wait", grpc_timeout="50m")
        self.check(stream, 4, "context deadline exceeded")

    def test_encodings(self):
        stream = self.wire.call(b"x", grpc_encoding="snappy")
        fields, _ = self.wire.answer(stream)
        self.assertEqual(fields["grpc-status"], "12")
        self.assertEqual(fields["grpc-accept-encoding"], "gzip,identity")
        self.assertEqual(
            fields["grpc-message"], 'grpc: Decompressor is not installed for grpc-encoding "snappy"'
        )
        stream = self.wire.headers()
        self.wire.data(stream, message(b"x", compressed=1))
        self.check(stream, 13, "grpc: compressed flag set with identity or empty encoding")
        stream = self.wire.headers(grpc_encoding="gzip")
        self.wire.data(stream, message(b"not gzip", compressed=1))
        self.check(stream, 13)
        stream = self.wire.headers(grpc_encoding="identity")
        self.wire.data(stream, message(b"x"))
        self.check(stream, 0)

    def test_answers_are_compressed_for_those_who_accept(self):
        content = b"a" * 100000
        plain = self.wire.answer(self.wire.call(content))
        self.assertEqual(plain[1], message(content))
        self.assertNotIn("grpc-encoding", plain[0])
        fields, body = self.wire.answer(self.wire.call(content, grpc_accept_encoding="identity,gzip"))
        self.assertEqual(fields["grpc-encoding"], "gzip")
        self.assertEqual(body[0], 1)
        self.assertLess(len(body), 5000)
        self.assertEqual(gzip.decompress(body[5:]), content)
        fields, body = self.wire.answer(self.wire.call(b"small", grpc_accept_encoding="gzip"))
        self.assertEqual(body, message(b"small"))

    def test_messages_must_be_whole_and_one(self):
        stream = self.wire.headers()
        self.wire.data(stream, message(b"hello")[:-1])
        self.check(stream, 13, "unexpected EOF")
        stream = self.wire.headers()
        self.wire.data(stream, b"\0\0")
        self.check(stream, 13, "unexpected EOF")
        self.check(self.wire.headers(end=True), 13)
        stream = self.wire.headers()
        self.wire.data(stream, message(b"a") + message(b"b"))
        self.check(stream, 13)
        stream = self.wire.headers()
        self.wire.data(stream, message(b"", compressed=7))
        self.check(stream, 13, "grpc: received unexpected payload format 7")

    def test_a_message_in_single_bytes(self):
        stream = self.wire.headers()
        content = message(b"slowly")
        for i in range(len(content)):
            self.wire.data(stream, content[i : i + 1], end=False)
        self.wire.data(stream, b"")
        fields, body = self.wire.answer(stream)
        self.assertEqual((fields["grpc-status"], body), ("0", content))

    def test_request_trailers_end_the_request(self):
        stream = self.wire.headers()
        self.wire.data(stream, message(b"x"), end=False)
        frame = HeadersFrame(stream, data=self.wire.encoder.encode([("some", "trailer")]))
        self.wire.send(self.wire.frame(frame, "END_HEADERS", "END_STREAM"))
        self.check(stream, 0)

    def test_a_refused_request_may_go_on_and_is_told_to_stop(self):
        stream = self.wire.headers("/perdure.test.Echo/Nope")
        self.assertEqual(self.wire.until(HeadersFrame, stream).fields["grpc-status"], "12")
        self.assertEqual(self.wire.until(RstStreamFrame, stream).error_code, 0)
        self.wire.data(stream, message(b"late"))
        self.check(self.wire.call(b"x"), 0)

    def test_too_many_headers(self):
        stream = self.wire.headers(**{f"x_{i}": "v" * 1000 for i in range(100)})
        fields, _ = self.wire.answer(stream)
        self.assertEqual((fields[":status"], fields["grpc-status"]), ("431", "8"))
        self.check(self.wire.call(b"x"), 0)

    def test_streams_beyond_the_limit_end_the_connection(self):
        """The client has acknowledged the limit: more is a protocol error (RFC 9113, 5.1.2)."""
        for _ in range(110):
            self.wire.call(b"for ever", path="/perdure.test.Echo/Wait")
        self.assertEqual(self.wire.goaway()[0], 1)

    def test_the_client_s_window_is_kept_to(self):
        with Wire(self.server.port, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10}) as wire:
            content = bytes(range(100))
            stream = wire.call(content)
            body = wire.until(DataFrame, stream).data
            self.assertEqual(len(body), 10)
            wire.ping()
            wire.window(stream, 20)
            body += wire.until(DataFrame, stream).data
            self.assertEqual(len(body), 30)
            wire.window(stream, 1000)
            fields, rest = wire.answer(stream)
            self.assertEqual(body + rest, message(content))
            self.assertEqual(fields["grpc-status"], "0")

    def test_a_reset_while_the_answer_is_held_back(self):
        with Wire(self.server.port, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10}) as wire:
            stream = wire.call(b"x" * 1000)
            wire.until(DataFrame, stream)
            wire.reset(stream)
            fields, _ = wire.answer(wire.call(b"1"))
            self.assertEqual(fields["grpc-status"], "0")

    def test_http1_is_answered_in_its_language(self):
        with socket.create_connection(("127.0.0.1", self.server.port), 5) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while more := s.recv(4096):
                answer += more
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "))
        head, body = answer.split(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(body), head)
        self.assertIn(b"gRPC", body)
