"""The trigger index: cost by size, against its model, bytes per trigger, and logs from bytes to matches."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from b3os._speedups.trigger_index import TriggerIndex
from b3os.detect.event_logs import LogEvent
from b3os.detect.evm import TRANSFER
from bench.report import Gate, medians, remark
from tests.reference.trigger_index_lookup import LookupModel

LOGS = 10_000


def recipient(number: int) -> bytes:
    """A spread-out account, as the topic of a transfer."""
    return (number * 0x9E3779B97F4A7C15 % 2**160).to_bytes(32, "big")


def filled(index: Any, count: int) -> Any:
    """Watch transfers to `count` accounts."""
    for slot in range(count):
        index.put_log(slot, 1, None, (TRANSFER.topic, None, recipient(slot)))
    return index


def answer(count: int, watched: int, hits: int) -> bytes:
    """An eth_getLogs answer of transfers, `hits` of them to watched accounts."""
    rng = random.Random(7)
    chosen = set(rng.sample(range(count), hits))
    logs = [
        {
            "address": "0x" + rng.randbytes(20).hex(),
            "topics": [
                "0x" + TRANSFER.topic.hex(),
                "0x" + rng.randbytes(20).rjust(32, b"\0").hex(),
                "0x" + (recipient(rng.randrange(watched)) if n in chosen else rng.randbytes(32)).hex(),
            ],
            "data": "0x" + rng.randbytes(32).hex(),
            "blockNumber": "0x1234567",
            "blockHash": "0x" + rng.randbytes(32).hex(),
            "blockTimestamp": "0x65000000",
            "transactionHash": "0x" + rng.randbytes(32).hex(),
            "transactionIndex": "0x1f",
            "logIndex": "0x2a",
            "removed": False,
        }
        for n in range(count)
    ]
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": logs}, separators=(",", ":")).encode()


def growth() -> float:
    """Cost per event at a million triggers over the cost at a thousand."""
    body = answer(LOGS, 1000, 100)
    large, small = filled(TriggerIndex(), 1_000_000), filled(TriggerIndex(), 1000)
    big, little = medians(9, lambda: large.match_logs_json(1, body), lambda: small.match_logs_json(1, body))
    remark(f"one log at 1,000,000 triggers: {big / LOGS * 1e9:.0f} ns, bytes to match")
    return big / little


def against_model() -> float:
    """A batch of logs at a hundred thousand triggers: the obvious dictionaries over the compiled index."""
    body = answer(LOGS, 100_000, 100)
    index, model = filled(TriggerIndex(), 100_000), filled(LookupModel(), 100_000)
    ours, theirs = medians(5, lambda: index.match_logs_json(1, body), lambda: model.match_logs_json(1, body))
    return theirs / ours


def against_web3() -> float:
    """The same bytes through web3.py's get_logs and a dictionary, over ours; hits are decoded in both."""
    from web3 import Web3
    from web3.providers import BaseProvider

    body = answer(LOGS, 100_000, 100)

    class Stored(BaseProvider):
        def make_request(self, method: Any, params: Any) -> Any:
            return json.loads(body)

    web3 = Web3(Stored())
    index, watched = filled(TriggerIndex(), 100_000), {recipient(slot): slot for slot in range(100_000)}

    def theirs() -> list[int]:
        logs = web3.eth.get_logs({"fromBlock": 1, "toBlock": 2})
        return [watched[bytes(log["topics"][2])] for log in logs if bytes(log["topics"][2]) in watched]

    def ours() -> list[LogEvent]:
        _, hits = index.match_logs_json(1, body)
        return [msgspec.json.decode(body[start:end], type=LogEvent) for _, start, end in hits]

    assert len(theirs()) == len(ours()) == 100
    fast, slow = medians(3, ours, theirs)
    remark(f"logs from bytes to matches: {LOGS / fast / 1e6:.2f} million a second")
    return slow / fast


def bytes_per_trigger() -> float:
    """Resident memory of a million triggers, measured in a process of its own."""
    code = "from bench.index import resident; resident()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def resident() -> None:
    """Print the growth of this process by a million triggers, bytes each."""

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    index, before = TriggerIndex(), pages()
    filled(index, 1_000_000)
    print((pages() - before) / len(index))


GATES = (
    Gate(
        name="index: cost per log at 1,000,000 triggers / at 1,000", bar=2, measure=growth, is_quick=True,
        reason="lookup would depend on how many workflows there are",
    ),
    Gate(
        name="index: 10,000 logs at 100,000 triggers, model / compiled", bar=10, at_least=True,
        measure=against_model, is_quick=True, reason="compiling would not pay",
    ),
    Gate(
        name="index: bytes per trigger at 1,000,000", bar=300, measure=bytes_per_trigger, is_quick=True,
        reason="a million triggers would not fit a small machine",
    ),
    Gate(
        name="logs: bytes to matches, web3.py / ours", bar=50, at_least=True, measure=against_web3, is_quick=True,
        reason="a busy chain would keep a core busy",
    ),
)  # fmt: skip
