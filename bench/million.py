"""A database with a million published workflows, made once for the benches that need one.

The triggers are what installations have: mostly token transfers and contract events, some native transfers, webhooks,
prices and schedules. Rows are written as publishing writes them, patterns included.
"""

import json
import random
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from b3os.abi.signature import keccak
from b3os.detect.patterns import compile_pattern
from b3os.embedded.servers import EmbeddedServers, Urls
from b3os.store.migrate import migrate

CHAIN = 8453
TOKENS = 50
ORGS = 1000
#: Shares of a thousand.
MIX = {
    "erc20-receive": 450, "erc20-send": 150, "evm-log": 150, "eth-receive": 100,
    "webhook": 50, "token-price-cexes": 50, "cronjob": 50,
}  # fmt: skip
_TRIGGERS = ("org_id", "workflow_id", "node_id", "version", "type", "payload", "pattern")
_WORKFLOWS = ("org_id", "id", "name", "status", "version", "live_version")


class Place(msgspec.Struct, frozen=True):
    """Where a trigger listens: its type, and the account or contract that is its own."""

    type: str
    account: bytes


def account_of(number: int) -> bytes:
    """The account of a workflow; never a leading zero."""
    return b"\x11" + keccak(number.to_bytes(8, "big"))[:19]


def type_of(number: int) -> str:
    """The trigger type of a workflow: spread by the mix."""
    share = number * 7919 % 1000
    for kind, size in MIX.items():
        share -= size
        if share < 0:
            return kind
    raise AssertionError("the shares make a thousand")


def token_of(number: int) -> bytes:
    """The token that a workflow watches, if it watches one."""
    return keccak(bytes([number % TOKENS]))[:20]


def payload_of(kind: str, account: bytes, number: int, chain: int = CHAIN) -> dict[str, Any]:
    """What a user would have written."""
    address = "0x" + account.hex()
    if kind.startswith("erc20"):
        token = "0x" + token_of(number).hex()
        return {"chainId": chain, "walletAddress": address, "tokenAddress": token, "minAmount": "1000"}
    if kind == "evm-log":
        return {"chainId": chain, "address": address, "eventSignature": "Swap(address indexed who, uint256 amount)"}
    if kind == "eth-receive":
        return {"chainId": chain, "walletAddress": address}
    if kind == "token-price-cexes":
        return {"asset": "BTCUSD", "operation": "cross-up", "targetPrice": 10_000 + number % 90_000}
    return {"schedule": f"{number % 60} {number % 24} * * *"} if kind == "cronjob" else {}


def _rows(count: int, chains: Sequence[int]) -> Iterator[tuple[str, str, bytes, bytes]]:
    """Yield (workflow, type, payload, pattern); a pattern is a compiled one with the account put into it."""
    mark = b"\x11" + b"\x77" * 19
    made = {
        (kind, token, chain): _sample(kind, mark, token, chain)
        for kind in MIX
        for token in range(TOKENS)
        for chain in chains
    }
    for number in range(count):
        kind, account = type_of(number), account_of(number)
        payload, pattern = made[kind, number % TOKENS, chains[number % len(chains)]]
        if pattern:
            payload, pattern = (
                payload.replace(mark.hex().encode(), account.hex().encode()),
                pattern.replace(mark, account),
            )
        elif kind != "webhook":
            payload = json.dumps(payload_of(kind, account, number)).encode()
        yield f"wf_{number:08d}", kind, payload, pattern


def _sample(kind: str, mark: bytes, token: int, chain: int) -> tuple[bytes, bytes]:
    payload = payload_of(kind, mark, token, chain)
    return json.dumps(payload).encode(), compile_pattern(kind, payload)


async def _lines(rows: Iterator[str]) -> AsyncIterator[bytes]:
    batch: list[str] = []
    for row in rows:
        batch.append(row)
        if len(batch) == 5000:
            yield "".join(batch).encode()
            batch.clear()
    yield "".join(batch).encode()


async def fill(url: str, count: int, chains: Sequence[int] = (CHAIN,)) -> None:
    """Write `count` workflows and their triggers by COPY, spread over chains in turn."""
    await migrate(url)
    db = await asyncpg.connect(url)
    workflows = (f"org_{n % ORGS}\twf_{n:08d}\tw\tactive\t1\t1\n" for n in range(count))
    await db.copy_to_table("workflows", source=_lines(workflows), columns=_WORKFLOWS)
    triggers = (
        f"org_{n % ORGS}\t{name}\troot\t1\t{kind}\t{payload.decode()}\t\\\\x{pattern.hex()}\n"
        for n, (name, kind, payload, pattern) in enumerate(_rows(count, chains))
    )
    await db.copy_to_table("triggers", source=_lines(triggers), columns=_TRIGGERS)
    for table in ("workflows", "triggers"):
        await db.execute(f"vacuum analyze {table}")
    await db.close()


async def publish_anew(db: Any, number: int, changes: int, count: int) -> None:
    """Publish some of `count` triggers anew, in one transaction, as publishing does; other ones for each `number`."""
    names = [f"wf_{(number * 7001 + n * 37) % count:08d}" for n in range(changes)]
    await db.execute(
        "update triggers set version = version + 1, revision = nextval('trigger_revisions'), "
        "xid = pg_current_xact_id() where (org_id, workflow_id) in "
        "(select 'org_' || (substr(n, 4)::int % $2), n from unnest($1::text[]) n)",
        names,
        ORGS,
    )


@contextmanager
def servers() -> Iterator[Urls]:
    """Start embedded servers of our own, with fsync as in production."""
    with tempfile.TemporaryDirectory(prefix="b3m") as folder:
        running = EmbeddedServers(Path(folder))
        try:
            yield running.start()
        finally:
            running.stop()


def answer(numbers: list[int], logs: int) -> bytes:
    """An eth_getLogs answer of transfers: those that some workflows wait for, and others that nobody knows."""
    rng = random.Random(5)
    places = set(rng.sample(range(logs), len(numbers)))
    wanted = iter(numbers)
    found = [_log(rng, next(wanted) if place in places else None) for place in range(logs)]
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": found}, separators=(",", ":")).encode()


def _log(rng: random.Random, number: int | None) -> dict[str, Any]:
    receiver = rng.randbytes(20) if number is None else account_of(number)
    token = rng.randbytes(20) if number is None else token_of(number)
    return {
        "address": "0x" + token.hex(),
        "topics": [
            "0x" + keccak(b"Transfer(address,address,uint256)").hex(),
            "0x" + rng.randbytes(20).rjust(32, b"\0").hex(),
            "0x" + receiver.rjust(32, b"\0").hex(),
        ],
        "data": "0x" + (10**18).to_bytes(32, "big").hex(),
        "blockNumber": "0x1234567",
        "blockHash": "0x" + "ab" * 32,
        "transactionHash": "0x" + rng.randbytes(32).hex(),
        "transactionIndex": "0x1f",
        "logIndex": hex(rng.randrange(500)),
        "removed": False,
    }
