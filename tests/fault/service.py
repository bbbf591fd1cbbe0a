"""A service as in Kubernetes: one port whose connections go to those of some daemons that are ready."""

import asyncio

from net import Cuts, Pipe, Service


class Rotation(Service):
    """One may be taken out of it before it is told to end, as an endpoint is while the hook before SIGTERM runs."""

    def __init__(self, processes):
        ports = [(p["name"], *(int(p[kind].rsplit(":", 1)[1]) for kind in ("grpc", "http"))) for p in processes]
        super().__init__(ports)
        self.out = set()

    async def is_ready(self, port):
        return port not in self.out and await super().is_ready(port)

    def take_out(self, process):
        port = int(process["http"].rsplit(":", 1)[1])
        self.out.add(port)
        self.ready = [grpc for _, grpc, http in self.backends if grpc in self.ready and http not in self.out]

    def put_back(self, process):
        self.out.discard(int(process["http"].rsplit(":", 1)[1]))


async def rotate(port, processes):
    """Serves on that port of this machine; the rotation."""
    service = Rotation(processes)
    watch = asyncio.ensure_future(service.watch())
    cuts = Cuts()
    server = await asyncio.get_running_loop().create_server(
        lambda: Pipe(cuts, frozenset(("client",)), service.choose).near, "127.0.0.1", port
    )
    service.end = lambda: (watch.cancel(), server.close())
    return service
