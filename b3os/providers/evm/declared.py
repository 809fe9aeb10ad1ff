"""Actions that are one contract call each: declarations, no code."""

from typing import Annotated

import msgspec
from msgspec import Meta

from b3os.actions.spec import ActionSpec, ContractCall, HealthProbe, Operation
from b3os.providers.evm.fields import Address, Amount, ChainId


class NftPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of get-nft-owner."""

    contract_address: Annotated[Address, Meta(description="Contract of the collection")]
    token_id: Annotated[str, Meta(description="Id of the token", pattern="^[0-9]{1,78}$")]
    chain_id: ChainId


class NftOwner(msgspec.Struct, frozen=True, rename="camel"):
    """Result of get-nft-owner."""

    owner: Annotated[str, Meta(description="Account that holds the token")]


class UnwrapPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of unwrap-native-token."""

    token_address: Annotated[Address, Meta(description="Contract of the wrapped coin, such as WETH")]
    amount: Amount
    chain_id: ChainId
    gas_limit: Annotated[str, Meta(description="Gas limit; empty: the node's estimate and a fifth")] = ""


class Unwrapped(msgspec.Struct, frozen=True, rename="camel"):
    """Result of unwrap-native-token."""

    status: Annotated[str, Meta(description="success")]
    transaction_hash: Annotated[str, Meta(description="Transaction hash")]
    block_number: Annotated[int, Meta(description="Block that holds it")]
    amount: Annotated[str, Meta(description="Amount in wei")]


GET_NFT_OWNER = ActionSpec(
    type="get-nft-owner",
    title="Get NFT owner",
    description="Read who holds a token of an ERC-721 collection.",
    payload=NftPayload,
    result=NftOwner,
    operation=Operation.READ,
    category="evm-onchain",
    call=ContractCall(
        signature="ownerOf(uint256) returns (address)", to="contract_address", args=("token_id",), fields={"owner": 0}
    ),
    health=HealthProbe(
        sample={"contractAddress": "0xBC4CA0EdA7647A8aB7C2061c2E118A18a936f13D", "tokenId": "1", "chainId": 1}
    ),
    tags=("evm", "nft"),
)

UNWRAP_NATIVE_TOKEN = ActionSpec(
    type="unwrap-native-token",
    title="Unwrap native coin",
    description="Turn a wrapped coin of the organization's wallet back into the coin.",
    payload=UnwrapPayload,
    result=Unwrapped,
    operation=Operation.WRITE,
    category="evm-onchain",
    call=ContractCall(signature="withdraw(uint256)", to="token_address", args=("amount",), echo={"amount": "amount"}),
    connector="wallet",
    requires_gas=True,
    health=HealthProbe(waived="sends a transaction: only a workflow may do that"),
    tags=("evm", "transfer"),
)
