"""Carrying a ContractCall out: a view function read, or a transaction sent once."""

from typing import Any

import msgspec

from b3os.abi.codec import decode
from b3os.abi.signature import checksum, parse_address, parse_signature
from b3os.actions.http_call import bad_response
from b3os.actions.spec import ActionContext, ActionSpec, ContractCall, Operation
from b3os.chain.abi import encode_call
from b3os.chain.rpc_errors import RpcError
from b3os.chain.signer import Signer
from b3os.chain.transactions import Wish, refusal, send
from b3os.errors import ActionFailed, BadInput


async def carry_out(spec: ActionSpec, call: ContractCall, payload: Any, context: ActionContext) -> msgspec.Struct:
    """Call the contract and return the result struct; raises ActionFailed."""
    rpc = context.chains.rpc(payload.chain_id)
    to = checksum(parse_address(getattr(payload, call.to), call.to))
    data = encode_call(call.signature, [getattr(payload, name) for name in call.args])
    out: dict[str, Any] = {name: getattr(payload, field) for name, field in call.echo.items()}
    if spec.operation is Operation.WRITE:
        wish = Wish(to, 0, "0x" + data.hex(), int(getattr(payload, "gas_limit", "") or 0))
        receipt = await send(rpc, signer_of(context), org_id=context.org_id, key=key_of(context), wish=wish)
        out |= {"transactionHash": receipt.transaction_hash, "blockNumber": int(receipt.block_number, 16)}
        return msgspec.convert({"status": "success", **out}, spec.result)
    try:
        values = decode(parse_signature(call.signature).outputs, await rpc.eth_call(to, data))
    except RpcError as error:
        raise refusal(error) from error
    except BadInput as error:
        raise bad_response(f"{to} is no such contract on chain {payload.chain_id}") from error
    return msgspec.convert({**out, **{name: values[at] for name, at in call.fields.items()}}, spec.result)


def signer_of(context: ActionContext) -> Signer:
    """Return the signer of this installation; ActionFailed when there is none."""
    if context.signer is None:
        raise ActionFailed(
            "this installation has no signer",
            error_code="NO_SIGNER",
            category="config",
            remediation="set B3OS_KEYSTORE_DIR and B3OS_KEYSTORE_PASSWORD (development only)",
        )
    return context.signer


def key_of(context: ActionContext) -> str:
    """Return the idempotency key; without one a retry could pay twice, so nothing is sent."""
    if not context.idempotency_key:
        raise ActionFailed(
            "a transaction needs an idempotency key",
            error_code="NO_IDEMPOTENCY_KEY",
            category="validation",
            remediation="send idempotencyKey with the call",
        )
    return context.idempotency_key
