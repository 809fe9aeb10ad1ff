"""What contracts of an emulated chain return, multicall3 among them: by what is called, at one block's state."""

from collections.abc import Mapping
from typing import Any

from eth_abi.abi import decode, encode

from b3os.chain.chains import MULTICALL3
from tests.emulators.faults import Said, Silence

AGGREGATE3, ETH_BALANCE = "0x82ad56cb", "0x4d2301cc"
#: A value that makes a call fail, and one that makes it burn all gas, also that of those after it in a multicall; and
#: one for which the node works longer than anybody waits.
REVERTS, BURNS, HANGS = "reverts", "burns", "hangs"
#: What the data of a revert begins with, Error(string).
REASON = "0x08c379a0"

Contracts = Mapping[tuple[str, str], str]


def called(call: dict[str, Any], state: Mapping[str, str], contracts: Contracts, *, has_multicall: bool) -> str:
    """Return what a call gives at a block; raises Said."""
    to, data = call["to"].lower(), call["data"]
    if to == MULTICALL3.lower():
        if not has_multicall:
            return "0x"
        return _aggregate(data, state, contracts)
    found = state.get(f"{to}:{data}") or contracts.get((to, data)) or contracts.get((to, data[:10]))
    if data == "0x":
        return "0x"
    if found == HANGS:
        raise Silence
    if found == BURNS:
        raise Said(-32000, "out of gas")
    if found is not None and found.startswith(REASON):
        raise Said(3, "execution reverted", found)
    if found in (None, REVERTS):
        raise Said(3, "execution reverted")
    return found


def _aggregate(data: str, state: Mapping[str, str], contracts: Contracts) -> str:
    if not data.startswith(AGGREGATE3):
        raise Said(3, "execution reverted")
    (calls,) = decode(["(address,bool,bytes)[]"], bytes.fromhex(data[10:]))
    answers, is_burnt = [], False
    for to, may_fail, inner in calls:
        try:
            if is_burnt:
                raise Said(-32000, "out of gas")
            answers.append((True, bytes.fromhex(_one(to, "0x" + inner.hex(), state, contracts)[2:])))
        except Said as error:
            if not may_fail:
                raise Said(3, "execution reverted: Multicall3: call failed") from error
            is_burnt |= error.message == "out of gas"
            answers.append((False, b""))
    return "0x" + encode(["(bool,bytes)[]"], [answers]).hex()


def _one(to: str, data: str, state: Mapping[str, str], contracts: Contracts) -> str:
    if to.lower() == MULTICALL3.lower() and data.startswith(ETH_BALANCE):
        return "0x" + state.get("0x" + data[-40:], "0x0")[2:].rjust(64, "0")
    return called({"to": to, "data": data}, state, contracts, has_multicall=True)
