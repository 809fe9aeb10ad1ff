"""The call trees of an emulated block, in the three dialects in which nodes send them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tests.emulators.ledger import Block, Inner, Tx

NAMES = {"CREATE": "create", "CREATE2": "create", "SELFDESTRUCT": "suicide"}


def nested(tx: Tx) -> msgspec.Raw:
    """A transaction as callTracer sends it, as text: an encoder does not go as deep as calls do."""
    top = Inner(tx.sender, tx.to or "0x" + "dd" * 20, tx.value, "CALL" if tx.to else "CREATE", "", tx.inner)
    return msgspec.Raw(_nested(top if tx.status else msgspec.structs.replace(top, error="execution reverted")).encode())


def _nested(call: Inner) -> str:
    about = {"type": call.type, "from": call.sender, "to": call.to, "value": hex(call.value)}
    text = json.dumps(about | ({"error": call.error} if call.error else {}))
    return f'{text[:-1]}, "calls": [{", ".join(map(_nested, call.calls))}]}}' if call.calls else text


def flat(block: Block, order: int) -> list[dict[str, Any]]:
    """A transaction as flatCallTracer and trace_block send it."""
    tx = block.txs[order]
    top = Inner(tx.sender, tx.to or "0x" + "dd" * 20, tx.value, "CALL" if tx.to else "CREATE", "", tx.inner)
    place = {
        "blockHash": block.hash,
        "blockNumber": block.number,
        "transactionHash": tx.hash,
        "transactionPosition": order,
    }
    error = "" if tx.status else "Reverted"
    return [{**one, **place} for one in _flat(top, (), error)]


def _flat(call: Inner, address: tuple[int, ...], error: str = "") -> Iterator[dict[str, Any]]:
    kind, error = NAMES.get(call.type, "call"), error or call.error
    made: dict[str, Any] = {"type": kind, "traceAddress": list(address), "subtraces": len(call.calls)}
    match kind:
        case "create":
            made["action"] = {"from": call.sender, "value": hex(call.value), "init": "0x"}
            made["result"] = {"address": call.to, "gasUsed": "0x0", "code": "0x"}
        case "suicide":
            made["action"] = {"address": call.sender, "refundAddress": call.to, "balance": hex(call.value)}
            made["result"] = None
        case _:
            about = {"callType": call.type.lower(), "input": "0x", "value": hex(call.value)}
            made["action"] = {"from": call.sender, "to": call.to, **about}
            made["result"] = {"gasUsed": "0x0", "output": "0x"}
    if error:
        made |= {"error": error, "result": None}
    yield made
    for number, one in enumerate(call.calls):
        yield from _flat(one, (*address, number))


def traced(method: str, options: Any, block: Block, orders: Iterable[int] | None = None) -> list[Any]:
    """Answer trace_block, or debug_traceBlockByHash with a tracer; `orders` are the transactions, or all."""
    chosen = range(len(block.txs)) if orders is None else orders
    if method == "trace_block":
        return [one for order in chosen for one in flat(block, order)]
    is_flat = options["tracer"] == "flatCallTracer"
    results = [flat(block, order) if is_flat else nested(block.txs[order]) for order in chosen]
    return [{"txHash": block.txs[order].hash, "result": one} for order, one in zip(chosen, results, strict=True)]
