"""Reading any contract, and the receipt of a transaction."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from b3os.abi.codec import decode
from b3os.abi.signature import Signature, parse_signature, signature_from_abi
from b3os.actions.spec import ActionContext, ActionSpec, HealthProbe, Operation
from b3os.chain.abi import encode_call
from b3os.chain.rpc_errors import RpcError
from b3os.chain.transactions import refusal
from b3os.errors import ActionFailed, BadInput
from b3os.providers.evm.balances import USDC
from b3os.providers.evm.fields import Address, ChainId, exact


class ReadContractPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of read-contract."""

    contract_address: Annotated[Address, Meta(description="Contract")]
    function_name: Annotated[
        str, Meta(description="Name of a function of `abi`, or a whole signature with `returns (…)`", max_length=1000)
    ]
    chain_id: ChainId
    abi: Annotated[Any, Meta(description="JSON ABI that has the function")] = None
    args: Annotated[list[Any], Meta(description="Arguments in order; large integers as strings")] = []


class ContractResult(msgspec.Struct, frozen=True):
    """Result of read-contract."""

    result: Annotated[Any, Meta(description="The value, or the list of values; integers as strings")]


async def read_contract(payload: ReadContractPayload, context: ActionContext) -> ContractResult:
    """Call a view function at the newest block."""
    rpc = context.chains.rpc(payload.chain_id)
    function = _function(payload)
    try:
        data = await rpc.eth_call(
            exact(payload.contract_address, "contractAddress"), encode_call(function, payload.args)
        )
    except RpcError as error:
        raise refusal(error) from error
    if not function.outputs:
        return ContractResult("0x" + data.hex())
    try:
        values = decode(function.outputs, data)
    except BadInput as error:
        raise ActionFailed(
            f"the contract answered {len(data)} bytes that are no {function.canonical}",
            error_code="BAD_RESPONSE",
            category="validation",
            remediation="check address, chain and the types after `returns`",
        ) from error
    return ContractResult(values[0] if len(values) == 1 else values)


def _function(payload: ReadContractPayload) -> Signature:
    if payload.abi:
        return signature_from_abi(payload.abi, "function", payload.function_name)
    return parse_signature(payload.function_name)


class ReceiptPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of get-transaction-receipt."""

    tx_hash: Annotated[str, Meta(description="Transaction hash", pattern="^0x[0-9a-fA-F]{64}$")]
    chain_id: ChainId


class ReceiptResult(msgspec.Struct, frozen=True, rename="camel"):
    """Result of get-transaction-receipt."""

    status: Annotated[str, Meta(description="success, reverted, or unknown before Byzantium")]
    block_number: Annotated[int, Meta(description="Block that holds the transaction")]
    gas_used: Annotated[str, Meta(description="Gas used")]
    logs: Annotated[list[Any], Meta(description="Logs as the node sends them")]


async def transaction_receipt(payload: ReceiptPayload, context: ActionContext) -> ReceiptResult:
    """Read the receipt; a transaction that is not mined yet is a retryable failure."""
    found = await context.chains.rpc(payload.chain_id).call("eth_getTransactionReceipt", payload.tx_hash)
    if not isinstance(found, dict):
        raise ActionFailed(
            f"the chain has no receipt of {payload.tx_hash}",
            error_code="NOT_FOUND",
            category="service",
            remediation="check hash and chain, or wait until it is mined",
            retryable=True,
        )
    status = {"0x1": "success", "0x0": "reverted"}.get(found.get("status", ""), "unknown")
    return ReceiptResult(
        status, int(found["blockNumber"], 16), str(int(found["gasUsed"], 16)), list(found.get("logs") or [])
    )


READ_CONTRACT = ActionSpec(
    type="read-contract",
    title="Read contract",
    description="Call a view function of any contract.",
    payload=ReadContractPayload,
    result=ContractResult,
    operation=Operation.READ,
    category="evm-onchain",
    run=read_contract,
    health=HealthProbe(
        sample={"contractAddress": USDC, "functionName": "decimals() view returns (uint8)", "chainId": 1}
    ),
    tags=("evm", "contract"),
)

GET_TRANSACTION_RECEIPT = ActionSpec(
    type="get-transaction-receipt",
    title="Get transaction receipt",
    description="Read status, gas and logs of a mined transaction.",
    payload=ReceiptPayload,
    result=ReceiptResult,
    operation=Operation.READ,
    category="evm-onchain",
    run=transaction_receipt,
    # The first transaction of Ethereum: every node that keeps receipts has it.
    health=HealthProbe(
        sample={"txHash": "0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060", "chainId": 1}
    ),
    tags=("evm", "transaction"),
)
