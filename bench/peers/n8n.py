"""n8n: its server on PostgreSQL, one process, every execution saved."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from b3os.embedded.supervisor import free_port
from bench.load import Fired, Load, send
from bench.peers.children import Child
from bench.peers.install import NODE_MODULES

COMMAND = NODE_MODULES / "n8n/bin/n8n"
DATABASE = "n8n"
#: Nothing that asks for the internet.
QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false", "N8N_VERSION_NOTIFICATIONS_ENABLED": "false", "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false", "N8N_HIRING_BANNER_ENABLED": "false",
    "N8N_COMMUNITY_PACKAGES_ENABLED": "false", "N8N_LOG_LEVEL": "warn", "NODE_ENV": "production",
    "EXECUTIONS_DATA_PRUNE": "false", "EXECUTIONS_DATA_SAVE_ON_SUCCESS": "all",
}  # fmt: skip
#: Its default of two connections would hold it back.
POOL = 16


def node(name: str, kind: str, version: float, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Make a node."""
    base = {"id": name, "name": name, "position": [0, 0], "parameters": parameters}
    return {**base, "type": f"n8n-nodes-base.{kind}", "typeVersion": version}


def hook(path: str) -> dict[str, Any]:
    """Make the node of a webhook that is answered when the last node is done."""
    made = node("Hook", "webhook", 2, {"httpMethod": "POST", "path": path, "responseMode": "lastNode", "options": {}})
    return {**made, "webhookId": path}


def field(name: str, key: str, value: str, kind: str = "string") -> dict[str, Any]:
    """Make a node that sets a field, as our `format`, `convert-to-wei` and `log` make one result each."""
    assignments = {"assignments": [{"id": key, "name": key, "value": value, "type": kind}]}
    options = {"mode": "manual", "duplicateItem": False, "includeOtherFields": True, "options": {}}
    return node(name, "set", 3.4, {**options, "assignments": assignments})


def condition(name: str, left: str) -> dict[str, Any]:
    """Make an IF that holds where a number is not negative."""
    test = {"id": "c", "leftValue": left, "rightValue": 0, "operator": {"type": "number", "operation": "gte"}}
    options = {"caseSensitive": True, "leftValue": "", "typeValidation": "loose"}
    conditions = {"options": options, "combinator": "and", "conditions": [test]}
    return node(name, "if", 2, {"options": {}, "conditions": conditions})


def workflow(path: str, nodes: list[dict[str, Any]], edges: list[tuple[str, int, str]]) -> dict[str, Any]:
    """Make a workflow; an edge goes from an output of a node to a node."""
    connections: dict[str, Any] = {}
    for source, output, target in edges:
        outputs = connections.setdefault(source, {"main": [[], []]})["main"]
        outputs[output].append({"node": target, "type": "main", "index": 0})
    return {
        "id": path, "name": path, "nodes": nodes, "connections": connections, "settings": {"executionOrder": "v1"},
        "versionId": f"version-{path}", "active": False, "pinData": {}, "meta": None, "tags": [],
    }  # fmt: skip


def four() -> dict[str, Any]:
    """The workflow of four nodes behind a webhook."""
    nodes = [
        hook("four"),
        field("A", "formatted", "=x {{ $json.body.n }}"),
        condition("B", "={{ $json.body.n }}"),
        field("C", "wei", "={{ 1.5 * 1e18 }}"),
        field("D", "message", "={{ $('A').item.json.formatted }} {{ $json.wei }}"),
    ]
    return workflow("four", nodes, [("Hook", 0, "A"), ("A", 0, "B"), ("B", 0, "C"), ("C", 0, "D")])


def loop(rounds: int) -> dict[str, Any]:
    """The workflow that walks through a list; each round is the node of the loop and one more."""
    nodes = [
        hook("loop"),
        field("List", "items", f"={{{{ Array.from({{ length: {rounds} }}, (_, i) => i) }}}}", "array"),
        node("Split", "splitOut", 1, {"fieldToSplitOut": "items", "options": {}}),
        node("Loop", "splitInBatches", 3, {"batchSize": 1, "options": {}}),
        field("Leaf", "wei", "={{ 1.5 * 1e18 }}"),
        node("End", "noOp", 1, {}),
    ]
    edges = [("Hook", 0, "List"), ("List", 0, "Split"), ("Split", 0, "Loop"), ("Loop", 1, "Leaf"), ("Leaf", 0, "Loop"),
             ("Loop", 0, "End")]  # fmt: skip
    return workflow("loop", nodes, edges)


class N8n:
    """The server, with two workflows behind webhooks."""

    def __init__(self, folder: Path, sockets: str, rounds: int) -> None:
        self.port = free_port()
        home = folder / "n8n"
        home.mkdir()
        environ = {
            **QUIET, "N8N_USER_FOLDER": str(home), "N8N_PORT": str(self.port), "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_ENCRYPTION_KEY": secrets.token_hex(16), "DB_TYPE": "postgresdb", "DB_POSTGRESDB_HOST": sockets,
            "DB_POSTGRESDB_DATABASE": DATABASE, "DB_POSTGRESDB_USER": "b3os", "DB_POSTGRESDB_PASSWORD": "",
            "DB_POSTGRESDB_POOL_SIZE": str(POOL),
        }  # fmt: skip
        workflows = [four(), loop(rounds)]
        (home / "workflows.json").write_bytes(msgspec.json.encode(workflows))
        commands = [["import:workflow", f"--input={home}/workflows.json"]]
        commands += [["publish:workflow", f"--id={made['id']}"] for made in workflows]
        for command in commands:
            step = Child("n8n-setup", ["node", COMMAND, *command], folder, environ=environ)
            try:
                step.await_end()
            finally:
                step.stop()
        self._server = Child("n8n", ["node", COMMAND, "start"], folder, environ=environ)
        try:
            self._server.await_answer(f"http://127.0.0.1:{self.port}/webhook/four", b'{"n":1}')
        except BaseException:
            self.stop()
            raise

    def fours(self, runs: int, connections: int) -> Fired:
        """Executions of four nodes, each answered when its last node is done."""
        return send(Load(port=self.port, path="/webhook/four", count=runs, connections=connections))

    def loop(self) -> Fired:
        """One execution of a long loop."""
        return send(Load(port=self.port, path="/webhook/loop", count=1))

    def stop(self) -> None:
        """End it."""
        self._server.stop()
