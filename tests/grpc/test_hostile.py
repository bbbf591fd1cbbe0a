"""Clients that mean harm, or are broken: nothing they do may cost much, or hurt others."""

import os
import select
import socket
import unittest

from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame
from lib.server import Echo, memory_max_kb, method
from lib.wire import Closed, Wire, message

ENHANCE_YOUR_CALM = 11
WAIT = "/perdure.test.Echo/Wait"
BIG = "/perdure.test.Echo/Big"


def pause(seconds):
    select.select([], [], [], seconds)


class Hostile(unittest.TestCase):
    def alive(self, server):
        self.assertEqual(method(server.channel(), "Echo")(b"x"), b"x")

    def test_too_many_pings(self):
        with Echo(ping_interval_min_ms=60000) as server, Wire(server.port) as wire:
            wire.send(b"".join(wire.frame(PingFrame(0, opaque_data=b"12345678")) for _ in range(20)))
            self.assertEqual(wire.goaway(), (ENHANCE_YOUR_CALM, b"too_many_pings"))
            self.assertEqual(server.stats()["abusive"], 1)

    def test_pings_beside_answers_are_no_abuse(self):
        with Echo(ping_interval_min_ms=60000) as server, Wire(server.port) as wire:
            for _ in range(100):
                wire.ping()
                self.assertEqual(wire.answer(wire.call(b"x"))[0]["grpc-status"], "0")

    def test_rapid_reset(self):
        with Echo() as server, Wire(server.port) as wire:
            try:
                for _ in range(300):
                    out = b""
                    for _ in range(10):
                        stream, data = wire.headers(WAIT, send=False)
                        out += data + wire.frame(DataFrame(stream, data=message(b"for ever")), "END_STREAM")
                        out += wire.frame(RstStreamFrame(stream, error_code=8))
                    wire.send(out)
            except Closed:
                pass
            self.assertEqual(wire.goaway(), (ENHANCE_YOUR_CALM, b"too_many_resets"))
            stats = server.wait_stats(calls=0)
            self.assertEqual(stats["abusive"], 1)

    def test_many_old_calls_may_be_cancelled_at_once(self):
        with Echo() as server, Wire(server.port) as wire:
            streams = [wire.call(b"for ever", path=WAIT) for _ in range(3000)]
            server.wait_stats(calls=3000)
            pause(1.1)  # not waiting for anything: the age of the calls is what the test is about
            for stream in streams:
                wire.reset(stream)
            server.wait_stats(calls=0, cancelled=3000, abusive=0)
            self.assertEqual(wire.answer(wire.call(b"x"))[0]["grpc-status"], "0")

    def test_settings_flood(self):
        with Echo() as server, Wire(server.port) as wire:
            try:
                for _ in range(50):
                    wire.send(wire.frame(SettingsFrame(0)) * 1000)
            except Closed:
                pass
            self.alive(server)
            self.assertLess(server.stats()["rss_kb"], memory_max_kb(400000))

    def test_continuation_flood(self):
        with Echo() as server, Wire(server.port) as wire:
            frame = HeadersFrame(1, data=wire.encoder.encode([(":method", "POST")]))
            wire.send(frame.serialize())
            block = wire.encoder.encode([("x", "y" * 8000)])
            with self.assertRaises((Closed, TimeoutError)):
                for _ in range(1000):
                    wire.continuation(1, block)
                wire.closed_within(10)
                raise Closed
            self.alive(server)

    def test_garbage(self):
        with Echo() as server:
            for content in [b"\0" * 100, os.urandom(2000), b"PRI * HTTP/2.0\r\n\r\nXX", b"\x16\x03\x01\x02\x00"]:
                with socket.create_connection(("127.0.0.1", server.port), 5) as s:
                    s.sendall(content)
                    s.settimeout(15)
                    try:
                        while s.recv(4096):
                            pass
                    except ConnectionResetError:
                        pass
            with Wire(server.port) as wire:
                wire.send(os.urandom(20000))
                wire.closed_within(10)
            self.alive(server)

    def test_half_open_connections_are_closed(self):
        with Echo(header_timeout_ms=300) as server:
            silent = socket.create_connection(("127.0.0.1", server.port), 5)
            half = socket.create_connection(("127.0.0.1", server.port), 5)
            half.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n")
            good = Wire(server.port)
            for s in [silent, half]:
                s.settimeout(5)
                while s.recv(100):
                    pass
                s.close()
            self.assertEqual(good.answer(good.call(b"x"))[0]["grpc-status"], "0")
            good.socket.close()

    def test_a_dead_peer_is_noticed(self):
        with Echo(keepalive_idle_ms=200, keepalive_timeout_ms=200) as server, Wire(server.port) as wire:
            wire.answer_pings = False
            wire.call(b"for ever", path=WAIT)
            self.assertLess(wire.closed_within(10), 8)
            server.wait_stats(calls=0, cancelled=1)

    def test_slow_reader_costs_bounded_memory(self):
        """Hundreds of large answers, none of which is read."""
        with Echo(unread_bytes_max=20000000) as server:
            before = server.stats()["rss_kb"]
            with Wire(server.port, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1000}) as wire:
                streams = [wire.call(b"1000000", path=BIG) for _ in range(300)]
                reset = [wire.until(RstStreamFrame) for _ in range(200)]
                self.assertEqual({f.error_code for f in reset}, {ENHANCE_YOUR_CALM})
                self.assertTrue({f.stream_id for f in reset} <= set(streams))
                self.assertLess(server.stats()["rss_kb"] - before, memory_max_kb(120000))
            self.alive(server)

    def test_a_reader_of_nothing_is_not_served_for_ever(self):
        """Windows wide open, but the socket is never read: reading from it stops too."""
        with Echo(keepalive_idle_ms=500, keepalive_timeout_ms=500) as server:
            before = server.stats()["rss_kb"]
            wide = {SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sock.connect(("127.0.0.1", server.port))
            with Wire(server.port, settings=wide, sock=sock) as wire:
                wire.socket.settimeout(1)
                try:
                    for _ in range(20000):
                        wire.call(b"100000", path=BIG)
                except (TimeoutError, Closed):
                    pass
                self.assertLess(server.stats()["rss_kb"] - before, memory_max_kb(150000))
                # The peer doesn't take our bytes: at last the connection is cut.
                server.wait_stats(connections=1, calls=0)

    def test_requests_that_never_end_are_bounded(self):
        with Echo(message_bytes_max=1000000, ping_interval_min_ms=0) as server:
            before = server.stats()["rss_kb"]
            with Wire(server.port) as wire:
                refused = 0
                for _ in range(30):
                    stream = wire.headers()
                    wire.data(stream, message(b"x" * 500000, length=1000000), end=False)
                    wire.ping()
                    while True:
                        frame = wire.next()
                        if isinstance(frame, HeadersFrame):
                            self.assertEqual(frame.fields["grpc-status"], "8")
                            refused += 1
                        if isinstance(frame, PingFrame):
                            break
                self.assertGreater(refused, 5)
                self.assertLess(server.stats()["rss_kb"] - before, memory_max_kb(60000))

    def test_connections_beyond_the_limit_are_closed(self):
        with Echo(connections_max=5) as server:
            wires = [Wire(server.port) for _ in range(5)]
            for wire in wires:
                self.assertEqual(wire.answer(wire.call(b"x"))[0]["grpc-status"], "0")
            with self.assertRaises(Closed), Wire(server.port) as sixth:
                sixth.answer(sixth.call(b"x"))
            wires.pop().socket.close()
            for wire in wires:
                self.assertEqual(wire.answer(wire.call(b"x"))[0]["grpc-status"], "0")
                wire.socket.close()

    def test_connections_come_and_go(self):
        with Echo() as server:
            before = server.stats()["rss_kb"]
            for i in range(2000):
                with Wire(server.port) as wire:
                    if i % 2:
                        wire.call(b"for ever", path=WAIT)
            server.wait_stats(calls=0, connections=1)
            self.assertLess(server.stats()["rss_kb"] - before, memory_max_kb(40000))
