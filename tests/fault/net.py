"""A network that can be cut: a process of proxies between the daemons, PostgreSQL and the clients of a cluster.

A daemon's inbox is dialed at a proxy of its own, and each daemon dials PostgreSQL at a proxy of its own (tools/lib:
Options.through). Who dials an inbox is read from its first message, which names the sender's address. So any pair can be
cut off from each other:

  silent  nothing passes, new connections come about and stay mute; what was sent arrives when the cut ends (as with
          packets that are dropped and sent again by TCP)
  reset   connections end at once, new ones are ended as soon as it is known whose they are
  deaf    the connections that exist now stay open and pass nothing any more, for ever; new ones work (as when a firewall
          or a proxy forgets them)
  busiest the same for just one of them: that which has sent most of late (towards PostgreSQL: the one that commits)

Also a service (as in Kubernetes): a port whose connections go to those of some daemons that are ready.

Driven over standard input by class Net; nothing but the standard library.
"""

import asyncio
import contextlib
import itertools
import json
import re
import socket
import struct
import subprocess
import sys
import time

ADDRESS = re.compile(rb"tcp://127\.0\.0\.1:(\d+)")


class Cuts:
    """Which pairs are cut, and the pipes between them."""

    def __init__(self):
        self.how = {}  # frozenset of two names → silent or reset
        self.pipes = set()

    def between(self, pair):
        return self.how.get(pair)

    def concerned(self, pair):
        return [p for p in self.pipes if p.pair == pair]

    def change(self, pair, how):
        if how in ("deaf", "busiest"):
            pipes = self.concerned(pair)
            for pipe in pipes if how == "deaf" else sorted(pipes, key=lambda p: p.weight())[-1:]:
                pipe.deaf = True
            return
        if how == "heal":
            self.how.pop(pair, None)
        else:
            self.how[pair] = how
        for pipe in self.concerned(pair):
            pipe.changed()


class Half(asyncio.Protocol):
    """One end of a pipe."""

    def __init__(self, pipe):
        self.pipe = pipe
        self.other = None
        self.transport = None
        self.held = []
        self.ended = False

    def connection_made(self, transport):
        self.transport = transport  # TCP_NODELAY is asyncio's default

    def data_received(self, data):
        self.pipe.arrived(self, data)

    def eof_received(self):
        self.ended = True
        self.pipe.end_of(self)
        return True

    def connection_lost(self, exc):
        self.ended = True
        self.pipe.end_of(self)

    def pause_writing(self):
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self):
        if self.other and self.other.transport and not self.pipe.muted:
            self.other.transport.resume_reading()


class Pipe:
    """A connection through the proxy: `near` was accepted, `far` is dialed."""

    def __init__(self, cuts, pair, far):
        self.cuts = cuts
        self.pair = pair  # None: not known before the first message
        self.far_end = far  # ("host", port) or a path; a callable answers one
        self.near, self.far = Half(self), None
        self.deaf = False
        self.dialing = False
        self.sent, self.sent_at = 0.0, time.monotonic()
        cuts.pipes.add(self)

    def weight(self, more=0):
        """Bytes sent, those of a second ago by half."""
        now = time.monotonic()
        self.sent = self.sent * 0.5 ** (now - self.sent_at) + more
        self.sent_at = now
        return self.sent

    @property
    def muted(self):
        return self.deaf or self.cuts.between(self.pair) == "silent"

    def identify(self, data):
        return True

    def arrived(self, half, data):
        if half is self.near and not self.identify(data):
            half.held.append(data)
            return
        if half is self.near:
            self.weight(len(data))
        half.held.append(data)
        self.flow()

    def changed(self):
        if self.cuts.between(self.pair) == "reset":
            self.abort()
        else:
            self.flow()

    def flow(self):
        if self.pair is not None and self.cuts.between(self.pair) == "reset":
            self.abort()
            return
        for half in (self.near, self.far):
            if half and half.transport:
                (half.transport.pause_reading if self.muted else half.transport.resume_reading)()
        if self.muted:
            return
        if not self.far:
            if not self.dialing:
                self.dialing = True
                asyncio.ensure_future(self.dial())
            return
        for half in (self.near, self.far):
            while half.held and half.other.transport:
                half.other.transport.write(half.held.pop(0))
            if half.ended and half.other.transport:
                half.other.transport.close()
                self.cuts.pipes.discard(self)

    def end_of(self, half):
        """Who is cut off hears of no end, either."""
        if not self.muted:
            if self.far is None and not self.dialing:
                self.abort()
            else:
                self.flow()

    async def dial(self):
        loop = asyncio.get_running_loop()
        far = Half(self)
        end = self.far_end() if callable(self.far_end) else self.far_end
        try:
            if isinstance(end, str):
                await loop.create_unix_connection(lambda: far, end)
            else:
                await loop.create_connection(lambda: far, *end)
        except (OSError, TypeError):
            self.abort()
            return
        far.other, self.near.other, self.far = self.near, far, far
        self.flow()

    def abort(self):
        self.cuts.pipes.discard(self)
        for half in (self.near, self.far):
            if half and half.transport:
                s = half.transport.get_extra_info("socket")
                with contextlib.suppress(OSError):  # it may have ended already
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                half.transport.abort()


class Inbox(Pipe):
    """Towards a daemon's inbox: the first message names who sends."""

    def __init__(self, cuts, owner, far, names):
        super().__init__(cuts, None, far)
        self.owner, self.names = owner, names

    def identify(self, data):
        if self.pair is None:
            found = ADDRESS.search(b"".join(self.near.held) + data)
            if not found:
                return False
            self.pair = frozenset((self.names.get(int(found.group(1)), "?"), self.owner))
        return True


class Service:
    """A port whose connections go, in turn, to those daemons that are ready."""

    def __init__(self, backends):
        self.backends = backends  # [(name, grpc port, HTTP port)]
        self.ready = []
        self.turn = itertools.count()

    def choose(self):
        return ("127.0.0.1", self.ready[next(self.turn) % len(self.ready)]) if self.ready else None

    async def is_ready(self, port):
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 1)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            line = await asyncio.wait_for(reader.readline(), 1)
            writer.close()
            return b" 200 " in line
        except (OSError, asyncio.TimeoutError):
            return False

    async def watch(self):
        while True:
            answers = await asyncio.gather(*(self.is_ready(http) for _, _, http in self.backends))
            self.ready = [grpc for (_, grpc, _), good in zip(self.backends, answers) if good]
            await asyncio.sleep(0.1)


async def serve(config):
    loop = asyncio.get_running_loop()
    cuts = Cuts()
    names = {link["listen"]: link["owner"] for link in config["inboxes"]}

    def pipe(make):
        return lambda: make().near

    for link in config["inboxes"]:
        make = lambda link=link: Inbox(cuts, link["owner"], ("127.0.0.1", link["to"]), names)  # noqa: E731
        await loop.create_server(pipe(make), "127.0.0.1", link["listen"])
    for link in config["databases"]:
        pair = frozenset((link["owner"], "postgres"))
        make = lambda link=link, pair=pair: Pipe(cuts, pair, link["to"])  # noqa: E731
        await loop.create_server(pipe(make), "127.0.0.1", link["listen"])
    for each in config["services"]:
        service = Service(each["backends"])
        asyncio.ensure_future(service.watch())
        make = lambda service=service: Pipe(cuts, frozenset(("client",)), service.choose)  # noqa: E731
        await loop.create_server(pipe(make), "127.0.0.1", each["listen"])
    return cuts


async def main():
    config = json.loads(sys.stdin.readline())
    cuts = await serve(config)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        a, b, how = line.decode().split()
        cuts.change(frozenset((a, b)), how)
        print("done", flush=True)


class Net:
    """The proxies of a cluster of tools/lib with Options.through; `services`: port → names of daemons."""

    def __init__(self, daemons, through, socket_path, services):
        def port(address):
            return int(address.rsplit(":", 1)[1])

        by_name = {d.name: d for d in daemons}
        config = {
            "inboxes": [
                {"owner": d.name, "listen": port(d.nng) + through, "to": port(d.nng)} for d in daemons
            ],
            "databases": [{"owner": d.name, "listen": port(d.http) + through, "to": socket_path} for d in daemons],
            "services": [
                {"listen": listen, "backends": [(n, port(by_name[n].grpc), port(by_name[n].http)) for n in names]}
                for listen, names in services.items()
            ],
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._tell(json.dumps(config))

    def _tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise RuntimeError("the proxies have ended")

    def change(self, a, b, how):
        """how: silent, reset, deaf, busiest, heal"""
        self._tell(f"{a} {b} {how}")

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


if __name__ == "__main__":
    asyncio.run(main())
