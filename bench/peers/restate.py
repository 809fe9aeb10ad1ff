"""Restate: its server and a service of its TypeScript SDK, each a process, on a disk of their own choosing."""

from pathlib import Path

import msgspec

from b3os.embedded.supervisor import free_port
from bench.load import Fired, Load, send
from bench.peers.children import Child
from bench.peers.install import NODE_MODULES, program

#: Its defaults, on loopback: `rocksdb-disable-wal-fsync` is false for the log server, so a step is synced when stored.
ENVIRON = {"RESTATE_DISABLE_TELEMETRY": "true", "RESTATE_LOG_FILTER": "warn", "RESTATE_BIND_IP": "127.0.0.1",
           "RESTATE_LISTEN_MODE": "tcp"}  # fmt: skip


class Restate:
    """Both processes; a handler runs four steps, another many."""

    def __init__(self, folder: Path, steps: int, abreast: int) -> None:
        self.port, admin, node, service = (free_port() for _ in range(4))
        self._children: list[Child] = []
        try:
            self._start(folder, (admin, node, service), (steps, abreast))
        except BaseException:
            self.stop()
            raise

    def _start(self, folder: Path, ports: tuple[int, int, int], loop: tuple[int, int]) -> None:
        admin, node, service = ports
        handlers = ["node", str(program("restate.mjs")), str(service), *map(str, loop)]
        self._children.append(Child("restate-service", handlers, folder, environ={"RESTATE_LOGGING": "ERROR"}))
        environ = {
            **ENVIRON, "RESTATE_INGRESS__BIND_PORT": str(self.port), "RESTATE_ADMIN__BIND_PORT": str(admin),
            "RESTATE_BIND_PORT": str(node),
        }  # fmt: skip
        binary = next(NODE_MODULES.glob("@restatedev/restate-server-*/bin/restate-server"))
        server = Child("restate", [binary, "--base-dir", folder / "restate"], folder, environ=environ)
        self._children.append(server)
        server.await_answer(f"http://127.0.0.1:{admin}/health")
        server.await_answer(f"http://127.0.0.1:{self.port}/restate/health")
        deployment = msgspec.json.encode({"uri": f"http://127.0.0.1:{service}"})
        server.await_answer(f"http://127.0.0.1:{admin}/deployments", deployment)
        server.await_answer(f"http://127.0.0.1:{self.port}/peer/chain", b'{"n":1}')

    def chains(self, runs: int, connections: int) -> Fired:
        """Invocations of four steps, each answered when it is stored that it is complete."""
        return send(Load(port=self.port, path="/peer/chain", count=runs, connections=connections))

    def loop(self) -> Fired:
        """One invocation of many steps."""
        return send(Load(port=self.port, path="/peer/loop", count=1))

    def stop(self) -> None:
        """End both."""
        for child in reversed(self._children):
            child.stop()
