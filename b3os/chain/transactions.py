"""From an intent to a mined transaction: fees, gas, signing once, broadcasting as often as needed, the receipt."""

import asyncio
from typing import Any

import msgspec

from b3os.chain.blocks import Receipt
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, RpcError, revert_reason
from b3os.chain.signer import Account, Intent, Signer
from b3os.errors import ActionFailed

#: What nodes say of a transaction that they already have: it is on its way.
KNOWN = ("already known", "alreadyknown", "known transaction", "nonce too low", "already imported")
GAS_HEADROOM_PERCENT = 120
FALLBACK_TIP_WEI = 1_000_000_000
WAIT_S = 25.0
POLL_S = (0.05, 0.1, 0.25, 0.5, 1.0)


class Wish(msgspec.Struct, frozen=True):
    """A transaction that somebody wants: to, value in wei, call data; `gas` 0 asks the node."""

    to: str
    value: int = 0
    data: str = "0x"
    gas: int = 0


async def send(rpc: Rpc, signer: Signer, *, org_id: str, key: str, wish: Wish) -> Receipt:
    """Send a wish once per idempotency key and return its receipt; raises ActionFailed."""
    account = await account_of(rpc, org_id)
    intent = signer.find(account, key)
    if intent is None:
        intent = await _begin(rpc, signer, account, key, wish)
        receipt = None
    else:
        receipt = await _receipt(rpc, intent)
        if receipt is None:
            await _again(rpc, intent)
    if receipt is None:
        receipt = await _await_receipt(rpc, intent)
    if receipt.status == "0x0":
        raise ActionFailed(
            f"the transaction {intent.hash} was mined and reverted",
            error_code="TRANSACTION_REVERTED",
            category="onchain",
            remediation="look at the transaction in a block explorer, and correct the payload",
        )
    return receipt


async def account_of(rpc: Rpc, org_id: str) -> Account:
    """Return whose intents an organization's are on a chain."""
    first = (await rpc.headers([0]))[0]
    if first is None:
        raise ActionFailed(f"chain {rpc.chain.id} does not serve its first block", category="service")
    return Account(org_id, f"{rpc.chain.id}-{first.hash[2:18]}")


async def _begin(rpc: Rpc, signer: Signer, account: Account, key: str, wish: Wish) -> Intent:
    """Sign and broadcast for the first time; what the node refuses then was never sent, and is forgotten."""
    intent = await _sign(rpc, signer, account, key, wish)
    try:
        await _broadcast(rpc, intent)
    except RpcError as error:
        signer.discard(account, key, intent)
        raise refusal(error, signer.address(account.org_id)) from error
    return intent


async def _sign(rpc: Rpc, signer: Signer, account: Account, key: str, wish: Wish) -> Intent:
    sender = await asyncio.to_thread(signer.address, account.org_id)
    call = {"from": sender, "to": wish.to, "value": hex(wish.value), "data": wish.data}
    try:
        gas = wish.gas or int(await rpc.typed(str, "eth_estimateGas", call), 16) * GAS_HEADROOM_PERCENT // 100
        nonce = int(await rpc.typed(str, "eth_getTransactionCount", sender, "pending"), 16)
        fees = await _fees(rpc)
    except RpcError as error:
        raise refusal(error, sender) from error
    for earlier in signer.unseen(account, nonce):
        await _again(rpc, earlier)  # signed before a crash and never sent: all later ones would wait for it
    transaction: dict[str, Any] = {
        "chainId": rpc.chain.id, "to": wish.to, "value": wish.value, "data": wish.data, "gas": gas, **fees,
    }  # fmt: skip
    return await asyncio.to_thread(signer.sign, account, key, transaction, nonce)


async def _fees(rpc: Rpc) -> dict[str, int]:
    """Return EIP-1559 caps (twice the next base fee and the tip), or a gas price where there is no base fee."""
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    base = block.get("baseFeePerGas") if isinstance(block, dict) else None
    if base is None:
        return {"gasPrice": int(await rpc.typed(str, "eth_gasPrice"), 16)}
    try:
        tip = int(await rpc.typed(str, "eth_maxPriorityFeePerGas"), 16)
    except RpcError:
        tip = FALLBACK_TIP_WEI
    return {"maxPriorityFeePerGas": tip, "maxFeePerGas": 2 * int(base, 16) + tip}


async def _broadcast(rpc: Rpc, intent: Intent) -> None:
    try:
        await rpc.call("eth_sendRawTransaction", intent.raw)
    except RpcError as error:
        if not any(text in error.message.lower() for text in KNOWN):
            raise


async def _again(rpc: Rpc, intent: Intent) -> None:
    """Broadcast an intent that may have been sent before: a refusal says nothing about that, so it is kept."""
    try:
        await _broadcast(rpc, intent)
    except RpcError as error:
        raise refusal(error) from error


async def _receipt(rpc: Rpc, intent: Intent) -> Receipt | None:
    return (await rpc.receipts([intent.hash]))[0]


async def _await_receipt(rpc: Rpc, intent: Intent) -> Receipt:
    step = 0
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                receipt = await _receipt(rpc, intent)
                if receipt is not None:
                    return receipt
                await asyncio.sleep(POLL_S[min(step, len(POLL_S) - 1)])
                step += 1
    except TimeoutError:
        raise ActionFailed(
            f"the transaction {intent.hash} is broadcast and not mined after {WAIT_S:g} s",
            error_code="TRANSACTION_PENDING",
            category="network",
            remediation="retry the run: the same transaction is awaited, none is sent again",
            retryable=True,
        ) from None


def refusal(error: RpcError, sender: str = "the sender") -> ActionFailed:
    """Turn a node's refusal into the words of an action's error."""
    reason = revert_reason(error.data) or error.message
    if error.cause is Cause.REVERT:
        return ActionFailed(
            f"the contract refuses: {reason}",
            error_code="CONTRACT_REVERT",
            category="onchain",
            remediation="check the arguments, the balance and the allowance",
        )
    is_poor = "insufficient funds" in error.message.lower()
    return ActionFailed(
        f"the node refuses: {error.message}",
        error_code="INSUFFICIENT_FUNDS" if is_poor else "RPC_ERROR",
        category="funds" if is_poor else "service",
        remediation=f"send native coin to {sender}" if is_poor else "check the payload",
        retryable=error.cause is Cause.MISSING,
    )
