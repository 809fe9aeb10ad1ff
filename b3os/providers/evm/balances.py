"""Native and ERC-20 balances, and what a token says of itself."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.abi.units import units
from b3os.actions.spec import ActionContext, ActionSpec, HealthProbe, Operation
from b3os.providers.evm.fields import (
    SAMPLE_HOLDER,
    Address,
    ChainId,
    exact,
    read,
    read_decimals,
    read_text,
)

USDC = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"

Base = Annotated[str, Meta(description="Balance in base units")]
Formatted = Annotated[str, Meta(description="Balance as a decimal number of coins or tokens")]


class NativeBalancePayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of get-native-balance."""

    address: Annotated[Address, Meta(description="Account whose balance is read")]
    chain_id: ChainId


class NativeBalance(msgspec.Struct, frozen=True, rename="camel"):
    """Result of get-native-balance."""

    balance: Annotated[str, Meta(description="Balance in wei")]
    formatted_balance: Formatted
    symbol: Annotated[str, Meta(description="Symbol of the native coin")]


async def native_balance(payload: NativeBalancePayload, context: ActionContext) -> NativeBalance:
    """Read eth_getBalance at the newest block."""
    rpc = context.chains.rpc(payload.chain_id)
    balance = int(await rpc.typed(str, "eth_getBalance", exact(payload.address, "address"), "latest"), 16)
    return NativeBalance(str(balance), units(balance, 18), rpc.chain.symbol)


class BalancePayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of get-balance."""

    token_address: Annotated[Address, Meta(description="Contract of the token")]
    account_address: Annotated[Address, Meta(description="Account whose balance is read")]
    chain_id: ChainId
    include_metadata: Annotated[bool, Meta(description="Whether to return name and symbol too")] = False


class Balance(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Result of get-balance."""

    balance: Base
    formatted_balance: Formatted
    token_address: Annotated[str, Meta(description="Contract of the token")]
    account_address: Annotated[str, Meta(description="Account")]
    decimals: Annotated[int, Meta(description="Decimals of the token")]
    block_number: Annotated[int, Meta(description="Block at which the balance was read")]
    symbol: Annotated[str | None, Meta(description="Symbol, when metadata was asked for")] = None
    name: Annotated[str | None, Meta(description="Name, when metadata was asked for")] = None


async def balance(payload: BalancePayload, context: ActionContext) -> Balance:
    """Read balanceOf, and the token's decimals."""
    rpc = context.chains.rpc(payload.chain_id)
    token, account = exact(payload.token_address, "tokenAddress"), exact(payload.account_address, "accountAddress")
    block = await rpc.height()
    amount = int.from_bytes((await read(rpc, token, "balanceOf(address)", account))[:32], "big")
    decimals = await read_decimals(rpc, token)
    symbol = await read_text(rpc, token, "symbol()") if payload.include_metadata else None
    name = await read_text(rpc, token, "name()") if payload.include_metadata else None
    return Balance(str(amount), units(amount, decimals), token, account, decimals, block, symbol, name)


class TokenInfoPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of get-token-info."""

    token_address: Annotated[Address, Meta(description="Contract of the token")]
    chain_id: ChainId


class TokenInfo(msgspec.Struct, frozen=True, rename="camel"):
    """Result of get-token-info."""

    name: Annotated[str, Meta(description="Name; empty where the token has none")]
    symbol: Annotated[str, Meta(description="Symbol; empty where the token has none")]
    decimals: Annotated[int, Meta(description="Decimals")]
    total_supply: Annotated[str, Meta(description="Supply in base units")]


async def token_info(payload: TokenInfoPayload, context: ActionContext) -> TokenInfo:
    """Read name, symbol, decimals and totalSupply."""
    rpc = context.chains.rpc(payload.chain_id)
    token = exact(payload.token_address, "tokenAddress")
    supply = int.from_bytes((await read(rpc, token, "totalSupply()"))[:32], "big")
    name, symbol = await read_text(rpc, token, "name()"), await read_text(rpc, token, "symbol()")
    return TokenInfo(name, symbol, await read_decimals(rpc, token), str(supply))


GET_NATIVE_BALANCE = ActionSpec(
    type="get-native-balance",
    title="Get native balance",
    description="Read the native coin balance of an account.",
    payload=NativeBalancePayload,
    result=NativeBalance,
    operation=Operation.READ,
    category="evm-onchain",
    run=native_balance,
    health=HealthProbe(sample={"address": SAMPLE_HOLDER, "chainId": 1}),
    tags=("evm", "balance"),
)

GET_BALANCE = ActionSpec(
    type="get-balance",
    title="Get token balance",
    description="Read the ERC-20 balance of an account.",
    payload=BalancePayload,
    result=Balance,
    operation=Operation.READ,
    category="evm-onchain",
    run=balance,
    health=HealthProbe(sample={"tokenAddress": USDC, "accountAddress": SAMPLE_HOLDER, "chainId": 1}),
    tags=("evm", "balance", "erc20"),
)

GET_TOKEN_INFO = ActionSpec(
    type="get-token-info",
    title="Get token info",
    description="Read name, symbol, decimals and supply of a token.",
    payload=TokenInfoPayload,
    result=TokenInfo,
    operation=Operation.READ,
    category="evm-onchain",
    run=token_info,
    health=HealthProbe(sample={"tokenAddress": USDC, "chainId": 1}),
    tags=("evm", "erc20"),
)
