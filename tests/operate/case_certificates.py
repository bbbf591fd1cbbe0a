"""Certificates: made and shown by perdurectl; rotated under load, the authority too, without a failed request."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import stat
import urllib.request

from world import eventually, expect, unique


async def files(world):
    """What is made can be read by nobody else, is not overwritten, and says when it expires."""
    made = world.data / "made"
    world.local("cert", "make", made, "--name", "x", "--san", "x.example.com,10.0.0.7", "--days", "30")
    for key in ("tls.key", "ca.key"):
        mode = stat.S_IMODE((made / key).stat().st_mode)
        expect(mode == 0o600, f"{key} has mode {mode:o}")
    before = (made / "tls.crt").read_bytes()
    world.local("cert", "make", made, status=1)
    expect("--yes" in world.said and (made / "tls.crt").read_bytes() == before, "it was overwritten without a question")
    world.local("cert", "make", made, "--yes", "--days", "20", "--san", "x.example.com,10.0.0.7")
    expect((made / "tls.crt").read_bytes() != before, "it was not overwritten")
    shown = json.loads(world.local("--json", "cert", "show", made))
    expect(shown[0]["names"] == "DNS:x.example.com, IP:10.0.0.7", f"{shown[0]}")
    expect([entry["authority"] for entry in shown] == [False, True], f"{shown}")
    world.local("cert", "show", made, "--expires-within", "10d")
    world.local("cert", "show", made, "--expires-within", "30d", status=3)
    world.local("cert", "show", world.data / "nothing", status=1)
    world.local("cert", "show", status=2)
    world.local("cert", "rotate", made)
    again = json.loads(world.local("--json", "cert", "show", made))
    same = ("subject", "names", "issuer")
    expect([again[0][k] for k in same] == [shown[0][k] for k in same], "a rotated certificate has other names")
    expect(again[0]["fingerprint"] != shown[0]["fingerprint"], "it is the same certificate")
    elsewhere = world.data / "elsewhere"
    world.local("cert", "make", elsewhere, "--ca", world.data / "made")
    expect(not (elsewhere / "ca.key").exists(), "the authority's key was copied")
    world.local("cert", "rotate", elsewhere, status=1)
    expect("--ca DIR" in world.said, world.said)


class Load:
    """Workflows that begin and end, over one connection and over a new one each time. Nothing is tried again."""

    def __init__(self, world):
        self.world = world
        self.done = self.connections = 0
        self.failures = []

    async def __aenter__(self):
        self.wire = self.world.wire()
        self.tasks = [asyncio.create_task(self.old()), asyncio.create_task(self.new())]
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.wire.close()

    async def one(self, wire):
        try:
            workflow_id = unique("load")
            await self.world.start(wire, workflow_id)
            await self.world.terminate(wire, workflow_id)
            self.done += 1
        except Exception as error:
            self.failures.append(f"{error}")
        await asyncio.sleep(0.01)  # its pace

    async def old(self):
        while True:
            await self.one(self.wire)

    async def new(self):
        while True:
            wire = self.world.wire()
            await self.one(wire)
            await wire.close()
            self.connections += 1


def served(address):
    """The fingerprint of the certificate that a port shows to whoever connects now."""
    import hashlib

    host, port = re.sub(r"^.*//", "", address).rsplit(":", 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the server's certificate comes before it asks for ours
    context.set_alpn_protocols(["h2"])
    seen = []
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        with context.wrap_socket(plain, do_handshake_on_connect=True) as secure:
            seen.append(secure.getpeercert(binary_form=True))
    return hashlib.sha256(seen[0]).hexdigest()


def loaded(world, use, member="certificates"):
    """node → fingerprints that it has loaded."""
    return {
        node["node_id"]: [c["fingerprint"] for w in node["certificates"] if w["use"] == use for c in w[member]]
        for node in world.json("cert", "show", "--cluster")
    }


def in_file(world, path):
    return [entry["fingerprint"] for entry in json.loads(world.local("--json", "cert", "show", path))]


async def everywhere(world):
    """Waits until every daemon has what the files hold."""

    async def same():
        rpc, trust, edge = (in_file(world, path) for path in (world.rpc / "tls.crt", world.rpc / "ca.crt", world.edge / "tls.crt"))
        return (
            all(found == rpc for found in loaded(world, "rpc").values())
            and all(found == trust for found in loaded(world, "rpc", "authorities").values())
            and all(found == edge for node, found in loaded(world, "grpc").items() if found)
        )

    await eventually(same, "all daemons to load the new files")


async def rotation(world):
    """New certificates for edge and daemons; daemons that come later connect with those that were there before."""
    async with Load(world) as load:
        world.ctl("cert", "rotate", world.rpc, "--ca", world.authority)
        world.ctl("cert", "rotate", world.edge, "--ca", world.authority)
        await everywhere(world)
        (new,) = in_file(world, world.edge / "tls.crt")
        expect(served(world.daemon("frontend").grpc) == new, "the edge still shows its old certificate")
        await world.grow(matchings=2)
        await after(load, 50)
    expect(not load.failures, f"{len(load.failures)} of {load.done} failed, as: {load.failures[:3]}")
    return f"{load.done} workflows, {load.connections} connections, none failed"


async def after(load, count):
    """Until so many more have been done."""
    enough = load.done + count

    async def reached():
        return load.done >= enough or load.failures

    await eventually(reached, f"{count} more workflows")


async def authority(world):
    """From one authority to another, in three steps; each waits for the one before to have arrived everywhere."""
    step = ("--ca", world.authority, "--new-ca", "--cluster", "--yes")
    grown = [{"histories": 2}, {"matchings": 3}, {"histories": 3}]
    async with Load(world) as load:
        for number in range(3):
            answers = [json.loads(await world.ctl_async("--json", "cert", "rotate", path, *step)) for path in (world.rpc, world.edge)]
            expect([a["step"] for a in answers] == [number + 1] * 2, f"{answers}")
            if number == 1:  # drop the old one only when nobody shows a certificate by it any more
                world.ctl("cert", "rotate", world.rpc, *step, status=1)
                expect("still shows a certificate of the old authority" in world.said, world.said)
            await everywhere(world)
            await world.grow(**grown[number])
            await after(load, 50)
        expect(len(in_file(world, world.rpc / "ca.crt")) == 1, "the old authority is still trusted")
        expect(not (world.authority / "next-ca.key").exists(), "a key is left over")
    expect(not load.failures, f"{len(load.failures)} of {load.done} failed, as: {load.failures[:3]}")
    return f"{load.done} workflows, {load.connections} connections, none failed"


async def broken(world):
    """A new file that is no certificate is told of, and the old one stays in use, until a good one comes."""
    path = world.edge / "tls.crt"
    good = path.read_bytes()
    (before,) = in_file(world, path)
    path.write_text("nonsense\n")
    frontend = world.daemon("frontend")
    os.kill(frontend.pid, signal.SIGHUP)

    async def told():
        return "new certificate files cannot be used" in world.log("frontend")

    await eventually(told, "the log to say that the file is no good")
    world.ctl("cert", "show", "--cluster")
    expect("goes on with its old grpc certificates" in world.said, world.said)
    wire = world.wire()
    await world.start(wire, unique("broken"))
    await wire.close()
    expect(served(frontend.grpc) == before, "another certificate is shown")
    path.write_bytes(good)
    world.ctl("cert", "rotate", world.edge, "--ca", world.authority)
    await everywhere(world)
    with urllib.request.urlopen(f"http://{frontend.http}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    expires = re.search(r'perdure_certificate_expiry_time_seconds\{use="grpc",kind="certificate"\} (\d+)', text)
    shown = json.loads(world.local("--json", "cert", "show", path))
    expect(expires and int(expires[1]) == shown[0]["not_after"], "the metric of the expiry is wrong")


CASES = (files, rotation, authority, broken)
