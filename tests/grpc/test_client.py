"""The official client (grpcio): what an SDK needs."""

import os
import socket
import threading
import time
import unittest

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from lib.server import Echo, method

Code = grpc.StatusCode


class TestCase(unittest.TestCase):
    def fails(self, call, *args, **kwargs):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **kwargs)
        return caught.exception


class Unary(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Echo().__enter__()
        cls.channel = cls.server.channel()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def call(self, name, content=b"", **kwargs):
        return method(self.channel, name)(content, **kwargs)

    def test_messages_of_all_sizes(self):
        for size in [0, 1, 100, 16379, 16380, 65535, 70000, 1 << 20, 4 << 20]:
            content = os.urandom(size)
            self.assertEqual(self.call("Echo", content), content)

    def test_a_large_answer(self):
        self.assertEqual(len(self.call("Big", b"30000000")), 30000000)

    def test_many_at_once(self):
        contents = [b"%d" % i * (i % 50) for i in range(1000)]
        futures = [method(self.channel, "Echo").future(c) for c in contents]
        self.assertEqual([f.result(10) for f in futures], contents)

    def test_errors_have_code_and_text(self):
        for code in list(Code)[1:]:
            e = self.fails(self.call, "Fail", b"%d something went wrong" % code.value[0])
            self.assertEqual((e.code(), e.details()), (code, "something went wrong"))

    def test_error_texts_may_hold_anything(self):
        text = 'ünïcode 日本 100% "quoted"\ntwo lines'
        self.assertEqual(self.fails(self.call, "Fail", b"5 " + text.encode()).details(), text)

    def test_an_enormous_error_text_still_arrives(self):
        e = self.fails(self.call, "Fail", b"3 " + b"x" * 100000)
        self.assertEqual(e.code(), Code.INVALID_ARGUMENT)
        self.assertTrue(e.details().startswith("xxx"))

    def test_an_error_has_its_detail(self):
        e = self.fails(self.call, "Fail", b"9 detailed")
        found = dict(e.trailing_metadata())["grpc-status-details-bin"]
        self.assertIn(b"type.googleapis.com/google.protobuf.StringValue", found)
        self.assertIn(b"detailed", found)

    def test_unknown_methods(self):
        e = self.fails(self.call, "Nope")
        self.assertEqual(e.code(), Code.UNIMPLEMENTED)
        self.assertEqual(e.details(), "unknown method Nope for service perdure.test.Echo")
        e = self.fails(self.channel.unary_unary("/some.Other/Thing"), b"")
        self.assertEqual((e.code(), e.details()), (Code.UNIMPLEMENTED, "unknown service some.Other"))

    def test_too_large_a_message(self):
        e = self.fails(self.call, "Echo", b"x" * ((4 << 20) + 1))
        self.assertEqual(e.code(), Code.RESOURCE_EXHAUSTED)
        self.assertEqual(e.details(), "grpc: received message larger than max (4194305 vs. 4194304)")

    def test_compression_both_ways(self):
        content = b"compress me " * 20000
        for algorithm in [grpc.Compression.Gzip, grpc.Compression.NoCompression]:
            self.assertEqual(self.call("Echo", content, compression=algorithm), content)
        self.assertEqual(self.call("Echo", b"", compression=grpc.Compression.Gzip), b"")

    def test_a_compressed_message_too_large_unpacked(self):
        e = self.fails(self.call, "Echo", b"\0" * (5 << 20), compression=grpc.Compression.Gzip)
        self.assertEqual(e.code(), Code.RESOURCE_EXHAUSTED)
        self.assertEqual(e.details(), "grpc: received message after decompression larger than max 4194304")

    def test_metadata(self):
        metadata = [("x-key", "value"), ("authorization", "Bearer " + "t" * 6000)] + [(f"k{i}", "v") for i in range(50)]
        for key, value in metadata:
            self.assertEqual(self.call("Meta", key.encode(), metadata=metadata), value.encode())
        self.assertEqual(self.call("Meta", b"x-other"), b"(none)")
        self.assertTrue(self.call("Meta", b"user-agent").startswith(b"grpc-python"))
        self.assertTrue(self.call("Meta", b":peer").startswith(b"127.0.0.1:"))


class Waiting(TestCase):
    def test_the_deadline_is_kept_by_the_server(self):
        with Echo() as server:
            e = self.fails(method(server.channel(), "Wait"), b"for ever", timeout=0.2)
            self.assertEqual(e.code(), Code.DEADLINE_EXCEEDED)
            server.wait_stats(calls=0, cancelled=1)

    def test_a_cancelled_call_is_cancelled_there(self):
        with Echo() as server:
            future = method(server.channel(), "Wait").future(b"for ever")
            server.wait_stats(calls=1)
            future.cancel()
            server.wait_stats(calls=0, cancelled=1)

    def test_a_lost_connection_cancels_its_calls(self):
        with Echo() as server:
            channel = server.channel()
            futures = [method(channel, "Wait").future(b"for ever") for _ in range(100)]
            server.wait_stats(calls=100)
            channel.close()
            server.wait_stats(calls=0, cancelled=100)
            self.assertTrue(all(f.done() for f in futures))

    def test_waiting_calls_don_t_hold_others_up(self):
        with Echo() as server:
            channel = server.channel()
            waits = [method(channel, "Wait").future(b"300") for _ in range(500)]
            start = time.monotonic()
            self.assertEqual(method(channel, "Echo")(b"x"), b"x")
            self.assertLess(time.monotonic() - start, 5)
            self.assertEqual([w.result(10) for w in waits], [b"waited"] * 500)


class Lifetime(TestCase):
    def test_client_keepalive_survives(self):
        with Echo(ping_interval_min_ms=200) as server:
            channel = server.channel(
                keepalive_time_ms=300,
                keepalive_timeout_ms=5000,
                keepalive_permit_without_calls=1,
                **{"http2.max_pings_without_data": 0},
            )
            self.assertEqual(method(channel, "Wait")(b"2500"), b"waited")
            first = method(channel, "Meta")(b":peer")
            self.assertEqual(method(channel, "Wait")(b"2500"), b"waited")
            self.assertEqual(method(channel, "Meta")(b":peer"), first)
            self.assertEqual(server.stats()["abusive"], 0)

    def test_server_keepalive_survives(self):
        with Echo(keepalive_idle_ms=100, keepalive_timeout_ms=5000) as server:
            channel = server.channel()
            first = method(channel, "Meta")(b":peer")
            self.assertEqual(method(channel, "Wait")(b"1500"), b"waited")
            self.assertEqual(method(channel, "Meta")(b":peer"), first)

    def test_an_aged_connection_is_replaced_without_an_error(self):
        with Echo(connection_age_max_ms=200) as server:
            channel = server.channel()
            peers = set()
            end = time.monotonic() + 2
            long = method(channel, "Wait").future(b"1000")
            while time.monotonic() < end:
                peers.add(method(channel, "Meta")(b":peer"))
            self.assertGreater(len(peers), 3)
            self.assertEqual(long.result(5), b"waited")

    def test_draining_ends_waiting_calls_well_and_refuses_connections(self):
        with Echo() as server:
            channel = server.channel()
            waits = [method(channel, "Wait").future(b"for ever") for _ in range(50)]
            server.wait_stats(calls=50)
            server.terminate()
            self.assertEqual([w.result(10) for w in waits], [b"waited"] * 50)
            self.assertEqual(server.process.wait(10), 0)
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port), 5)

    def test_draining_loses_no_call(self):
        """Calls that go on while the server drains succeed or were never seen by it (UNAVAILABLE)."""
        with Echo() as server:
            channel = server.channel()
            results, stop = [], threading.Event()

            def caller():
                while not stop.is_set():
                    try:
                        method(channel, "Echo")(b"x")
                        results.append("ok")
                    except grpc.RpcError as e:
                        results.append((e.code(), e.details()))
                        return

            threads = [threading.Thread(target=caller) for _ in range(8)]
            for thread in threads:
                thread.start()
            while len(results) < 200:
                stop.wait(0.01)
            server.terminate()
            server.process.wait(10)
            stop.set()
            for thread in threads:
                thread.join()
            bad = [r for r in results if r != "ok" and (r[0] != Code.UNAVAILABLE or "refused" not in r[1])]
            self.assertEqual(bad, [])


class Builtin(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Echo().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def test_health(self):
        stub = health_pb2_grpc.HealthStub(self.server.channel())
        check = health_pb2.HealthCheckRequest
        self.assertEqual(stub.Check(check()).status, health_pb2.HealthCheckResponse.SERVING)
        self.assertEqual(
            stub.Check(check(service="perdure.test.Echo")).status, health_pb2.HealthCheckResponse.SERVING
        )
        e = self.fails(stub.Check, check(service="other"))
        self.assertEqual((e.code(), e.details()), (Code.NOT_FOUND, "unknown service"))

    def test_watch(self):
        with Echo() as server:
            stub = health_pb2_grpc.HealthStub(server.channel())
            known = stub.Watch(health_pb2.HealthCheckRequest())
            self.assertEqual(next(known).status, health_pb2.HealthCheckResponse.SERVING)
            unknown = stub.Watch(health_pb2.HealthCheckRequest(service="other"))
            self.assertEqual(next(unknown).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            unknown.cancel()
            server.wait_stats(calls=1)
            server.terminate()
            self.assertEqual(next(known).status, health_pb2.HealthCheckResponse.NOT_SERVING)
            self.assertEqual(self.fails(next, known).code(), Code.UNAVAILABLE)

    def test_reflection(self):
        database = ProtoReflectionDescriptorDatabase(self.server.channel())
        services = set(database.get_services())
        self.assertIn("temporal.api.workflowservice.v1.WorkflowService", services)
        self.assertIn("grpc.health.v1.Health", services)
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("temporal.api.workflowservice.v1.WorkflowService")
        request = service.FindMethodByName("StartWorkflowExecution").input_type
        self.assertEqual(request.fields_by_name["workflow_id"].number, 2)
        with self.assertRaises(KeyError):
            pool.FindMessageTypeByName("no.such.Message")
