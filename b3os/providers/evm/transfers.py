"""Sending native coin and ERC-20 tokens; each once per run, node and iteration."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.abi.units import units
from b3os.actions.contract_call import key_of, signer_of
from b3os.actions.spec import ActionContext, ActionSpec, HealthProbe, Operation
from b3os.chain.abi import encode_call
from b3os.chain.transactions import Wish, account_of, send
from b3os.errors import ActionFailed
from b3os.providers.evm.fields import Address, Amount, ChainId, exact, read, read_decimals, read_text

GasLimit = Annotated[
    str, Meta(description="Gas limit; empty: the node's estimate and a fifth", pattern="^[0-9]{0,12}$")
]
WAIVED = "sends money: only a workflow may do that"


class NativePayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of send-native-token."""

    recipient_address: Annotated[Address, Meta(description="Receiver")]
    amount: Annotated[Amount, Meta(description="Amount in wei")]
    chain_id: ChainId
    gas_limit: GasLimit = ""


class NativeSent(msgspec.Struct, frozen=True, rename="camel"):
    """Result of send-native-token."""

    status: Annotated[str, Meta(description="success")]
    transaction_hash: Annotated[str, Meta(description="Transaction hash")]
    block_number: Annotated[int, Meta(description="Block that holds it")]


async def send_native(payload: NativePayload, context: ActionContext) -> NativeSent:
    """Send native coin from the organization's wallet."""
    to = exact(payload.recipient_address, "recipientAddress")
    wish = Wish(to, int(payload.amount), gas=int(payload.gas_limit or 0))
    receipt = await send(
        context.chains.rpc(payload.chain_id), signer_of(context), org_id=context.org_id, key=key_of(context), wish=wish
    )
    return NativeSent("success", receipt.transaction_hash, int(receipt.block_number, 16))


class TokenPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of send-erc20-token."""

    token_address: Annotated[Address, Meta(description="Contract of the token")]
    recipient_address: Annotated[Address, Meta(description="Receiver")]
    amount: Amount
    chain_id: ChainId
    gas_limit: GasLimit = ""


class TokenSent(msgspec.Struct, frozen=True, rename="camel"):
    """Result of send-erc20-token."""

    status: Annotated[str, Meta(description="success")]
    transaction_hash: Annotated[str, Meta(description="Transaction hash")]
    block_number: Annotated[int, Meta(description="Block that holds it")]
    token_address: Annotated[str, Meta(description="Contract of the token")]
    recipient_address: Annotated[str, Meta(description="Receiver")]
    amount: Annotated[str, Meta(description="Amount in base units")]
    amount_formatted: Annotated[str, Meta(description="Amount in tokens")]
    token_symbol: Annotated[str, Meta(description="Symbol of the token")]
    chain_id: Annotated[int, Meta(description="EVM chain id")]


async def send_erc20(payload: TokenPayload, context: ActionContext) -> TokenSent:
    """Check the balance, then call transfer(address,uint256) from the organization's wallet."""
    rpc, signer = context.chains.rpc(payload.chain_id), signer_of(context)
    token, to = exact(payload.token_address, "tokenAddress"), exact(payload.recipient_address, "recipientAddress")
    amount, key = int(payload.amount), key_of(context)
    if signer.find(await account_of(rpc, context.org_id), key) is None:
        owner = signer.address(context.org_id)
        held = int.from_bytes((await read(rpc, token, "balanceOf(address)", owner))[:32], "big")
        if held < amount:
            raise ActionFailed(
                f"{owner} holds {held} of the {amount} base units",
                error_code="INSUFFICIENT_BALANCE",
                category="funds",
                remediation=f"send tokens to {owner}, or lower the amount",
            )
    data = "0x" + encode_call("transfer(address,uint256)", (to, amount)).hex()
    wish = Wish(token, 0, data, int(payload.gas_limit or 0))
    receipt = await send(rpc, signer, org_id=context.org_id, key=key, wish=wish)
    decimals, symbol = await read_decimals(rpc, token), await read_text(rpc, token, "symbol()")
    return TokenSent(
        status="success",
        transaction_hash=receipt.transaction_hash,
        block_number=int(receipt.block_number, 16),
        token_address=token,
        recipient_address=to,
        amount=str(amount),
        amount_formatted=units(amount, decimals),
        token_symbol=symbol,
        chain_id=payload.chain_id,
    )


SEND_NATIVE_TOKEN = ActionSpec(
    type="send-native-token",
    title="Send native coin",
    description="Send the native coin of a chain from the organization's wallet.",
    payload=NativePayload,
    result=NativeSent,
    operation=Operation.WRITE,
    category="evm-onchain",
    run=send_native,
    connector="wallet",
    requires_gas=True,
    health=HealthProbe(sample={}, waived=WAIVED),
    tags=("evm", "transfer"),
)

SEND_ERC20_TOKEN = ActionSpec(
    type="send-erc20-token",
    title="Send ERC-20 token",
    description="Send tokens from the organization's wallet after a balance check.",
    payload=TokenPayload,
    result=TokenSent,
    operation=Operation.WRITE,
    category="evm-onchain",
    run=send_erc20,
    connector="wallet",
    requires_gas=True,
    health=HealthProbe(sample={}, waived=WAIVED),
    tags=("evm", "transfer", "erc20"),
)
