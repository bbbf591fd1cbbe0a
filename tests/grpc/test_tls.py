"""TLS: certificates, ALPN, client certificates."""

import socket
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

import grpc
from lib.server import Echo, method
from lib.wire import Closed, Wire


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(folder):
    """ca, and server and client signed by it: NAME.pem and NAME.key."""
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl(*new, "-subj", "/CN=test ca", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    for name, subject in [("server", "/CN=localhost"), ("client", "/O=Example/CN=worker 1")]:
        signed = ["-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-addext", "subjectAltName=DNS:localhost"]
        openssl(*new, *signed, "-subj", subject, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        make_certificates(cls.path)
        cls.identity = {"cert": cls.path / "server.pem", "key": cls.path / "server.key"}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def read(self, name):
        return (self.path / name).read_bytes()

    def channel(self, server, with_client=False):
        pair = {"private_key": self.read("client.key"), "certificate_chain": self.read("client.pem")}
        credentials = grpc.ssl_channel_credentials(self.read("ca.pem"), **(pair if with_client else {}))
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        channel = grpc.secure_channel(f"localhost:{server.port}", credentials, options)
        server.channels.append(channel)
        return channel

    def test_calls_of_all_sizes(self):
        with Echo(**self.identity) as server:
            channel = self.channel(server)
            for size in [0, 100, 16384, 1000000]:
                self.assertEqual(method(channel, "Echo")(b"x" * size), b"x" * size)
            self.assertEqual(len(method(channel, "Big")(b"20000000")), 20000000)
            futures = [method(channel, "Echo").future(b"%d" % i) for i in range(500)]
            self.assertEqual([f.result(10) for f in futures], [b"%d" % i for i in range(500)])
            self.assertEqual(method(channel, "Meta")(b":subject"), b"(none)")

    def test_client_certificates(self):
        with Echo(**self.identity, ca=self.path / "ca.pem", client_cert=1) as server:
            channel = self.channel(server, with_client=True)
            self.assertEqual(method(channel, "Meta")(b":subject"), b"CN=worker 1,O=Example")
            with self.assertRaises(grpc.RpcError) as caught:
                method(self.channel(server), "Echo")(b"x", timeout=5)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_client_certificates_may_be_optional(self):
        with Echo(**self.identity, ca=self.path / "ca.pem") as server:
            self.assertEqual(method(self.channel(server), "Meta")(b":subject"), b"(none)")
            self.assertEqual(
                method(self.channel(server, with_client=True), "Meta")(b":subject"), b"CN=worker 1,O=Example"
            )

    def connect(self, server, protocols):
        context = ssl.create_default_context(cafile=str(self.path / "ca.pem"))
        if protocols:
            context.set_alpn_protocols(protocols)
        raw = socket.create_connection(("127.0.0.1", server.port), 5)
        return context.wrap_socket(raw, server_hostname="localhost")

    def test_alpn(self):
        with Echo(**self.identity) as server:
            with Wire(server.port, sock=self.connect(server, ["h2"])) as wire:
                self.assertEqual(wire.answer(wire.call(b"x"))[0]["grpc-status"], "0")
            with self.assertRaises(ssl.SSLError):
                self.connect(server, ["http/1.1"])
            with self.assertRaises((ssl.SSLError, Closed, ConnectionError)):
                wire = Wire(server.port, sock=self.connect(server, []))
                wire.answer(wire.call(b"x"))

    def test_cleartext_on_a_tls_port(self):
        with Echo(**self.identity) as server, self.assertRaises(Closed):
            Wire(server.port)

    def test_a_handshake_that_stalls_is_cut(self):
        with Echo(**self.identity, header_timeout_ms=300) as server:
            with socket.create_connection(("127.0.0.1", server.port), 5) as s:
                s.sendall(b"\x16\x03\x01\x02\x00\x01")
                s.settimeout(5)
                self.assertEqual(s.recv(100), b"")

    def test_draining(self):
        with Echo(**self.identity) as server:
            channel = self.channel(server)
            waits = [method(channel, "Wait").future(b"for ever") for _ in range(20)]
            # The last call's answer says that all of them have arrived: one connection, in order.
            method(channel, "Echo")(b"x")
            server.terminate()
            self.assertEqual([w.result(10) for w in waits], [b"waited"] * 20)

    def test_bad_files_are_named(self):
        from lib.server import program

        run = subprocess.run(
            [program("grpc_echo"), "cert=/does/not/exist.pem", "key=x"], capture_output=True, text=True, check=False
        )
        self.assertEqual(run.returncode, 1)
        self.assertIn("cannot use the TLS certificate /does/not/exist.pem", run.stderr)
