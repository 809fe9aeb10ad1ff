"""Field types that the evm actions share, and reads that several of them make."""

from typing import Annotated

from msgspec import Meta

from b3os.abi.signature import checksum, parse_address
from b3os.chain.abi import decode_text, encode_call
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import RpcError
from b3os.chain.transactions import refusal
from b3os.errors import ActionFailed

ChainId = Annotated[int, Meta(description="EVM chain id, such as 8453 for Base", ge=1, examples=[1, 8453])]
Address = Annotated[str, Meta(description="Address: 0x and 40 hexadecimal digits", pattern="^0x[0-9a-fA-F]{40}$")]
Amount = Annotated[str, Meta(description="Whole number of base units", pattern="^[0-9]{1,78}$")]

SAMPLE_HOLDER = "0x0000000000000000000000000000000000000000"


def exact(text: str, what: str) -> str:
    """Return an address with its checksum; raises BadInput naming the field."""
    return checksum(parse_address(text, what))


async def read(rpc: Rpc, to: str, signature: str, *args: object) -> bytes:
    """Call a view function; raises ActionFailed with the contract's or the node's reason."""
    try:
        found = await rpc.eth_call(to, encode_call(signature, args))
    except RpcError as error:
        raise refusal(error) from error
    if not found:
        raise ActionFailed(
            f"{to} has no {signature.partition('(')[0]}: it returned nothing",
            error_code="NOT_A_CONTRACT",
            category="validation",
            remediation="check the address and the chain",
        )
    return found


async def read_text(rpc: Rpc, to: str, signature: str) -> str:
    """Read name() or symbol(); empty where the token has none."""
    try:
        return decode_text(await rpc.eth_call(to, encode_call(signature, ()))) or ""
    except RpcError:
        return ""


async def read_decimals(rpc: Rpc, token: str) -> int:
    """Read decimals() of a token; 18 where it does not tell."""
    try:
        found = await rpc.eth_call(token, encode_call("decimals()", ()))
    except RpcError:
        return 18
    value = int.from_bytes(found[:32], "big") if len(found) >= 32 else 18
    return value if value < 256 else 18
