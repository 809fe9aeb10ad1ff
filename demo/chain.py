"""`make demo-chain`: get Anvil from npm, start it, deploy the committed test token, stay until Ctrl-C.

The next start goes on with the same blocks: an engine that has read them would refuse a chain that begins anew.
Also used by the system test. Anvil's accounts are unlocked development accounts; no key is kept here.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from b3os.embedded.nursery import end_with_parent

ANVIL_VERSION = "1.7.1"
CHAIN_ID = 31337
ROOT = Path(__file__).resolve().parent
CACHE = ROOT.parent / ".demo"
#: The blocks of `make demo-chain`, written when Anvil ends.
STATE = CACHE / "chain.json"
#: Where the first contract of Anvil's first account is, on every chain that it begins.
TOKEN = "0x5fbdb2315678afecb367f032d93f642f64180aa3"  # noqa: S105 - an address
START_LIMIT_S = 20.0
#: npm itself tries an unreachable registry for many minutes without a word.
INSTALL_LIMIT_S = 90.0


def obtain_anvil() -> str:
    """Return the path of an Anvil binary, installing it into .demo when PATH has none."""
    found = shutil.which("anvil")
    if found:
        return found
    binary = next(CACHE.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"), None)
    if binary is None:
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("npm is not installed: install Node.js 20 or put `anvil` on PATH, then run this again")
        CACHE.mkdir(exist_ok=True)
        package = f"@foundry-rs/anvil@{ANVIL_VERSION}"
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(CACHE), package]
        try:
            subprocess.run(command, check=True, timeout=INSTALL_LIMIT_S)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"npm could not install {package}: {error}. Is its registry reachable, and its certificate trusted? "
                "Otherwise put `anvil` on PATH, then run this again"
            ) from error
        binary = next(CACHE.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"), None)
    if binary is None:
        raise SystemExit("npm installed no Anvil binary for this platform: put `anvil` on PATH, then run this again")
    return str(binary)


def call(url: str, method: str, *params: Any) -> Any:
    """One JSON-RPC call; raises RuntimeError with the node's message."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310 - our own loopback URL
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        answer = json.load(response)
    if "error" in answer:
        raise RuntimeError(answer["error"]["message"])
    return answer["result"]


def start(port: int, *, chain_id: int = CHAIN_ID, state: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start Anvil on loopback, answering when this returns; it ends with its parent. `state` keeps its blocks."""

    command = [obtain_anvil(), "--port", str(port), "--chain-id", str(chain_id), "--silent"]
    if state is not None:
        state.parent.mkdir(exist_ok=True)
        command += ["--state", str(state)]
    process = subprocess.Popen(command, preexec_fn=end_with_parent)
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            call(f"http://127.0.0.1:{port}", "eth_chainId")
            return process
        time.sleep(0.02)
    process.kill()
    raise SystemExit(f"Anvil did not answer on port {port}: is the port taken?")


def receipt(url: str, transaction: str) -> dict[str, Any]:
    """Wait for a transaction's receipt; Anvil answers the send before the block is there."""
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        found = call(url, "eth_getTransactionReceipt", transaction)
        if found:
            return dict(found)
        time.sleep(0.02)
    raise SystemExit(f"no receipt for {transaction}")


def deploy(url: str) -> str:
    """Deploy the test token from the first account; returns its address."""
    owner = call(url, "eth_accounts")[0]
    code = json.loads((ROOT / "TestToken.json").read_text())["bytecode"]
    sent = call(url, "eth_sendTransaction", {"from": owner, "data": code, "gas": "0x1e8480"})
    return str(receipt(url, sent)["contractAddress"])


def token_of(url: str) -> str:
    """Return the address of the test token, deployed now or by an earlier start."""
    return TOKEN if call(url, "eth_getCode", TOKEN, "latest") != "0x" else deploy(url)


def transfer(url: str, token: str, to: str, amount: int) -> str:
    """Send tokens from the first account; returns the transaction hash."""
    owner = call(url, "eth_accounts")[0]
    data = "0xa9059cbb" + to.removeprefix("0x").lower().rjust(64, "0") + f"{amount:064x}"
    return str(call(url, "eth_sendTransaction", {"from": owner, "to": token, "data": data, "gas": "0x186a0"}))


def main() -> None:
    """Serve the demo chain on port 8545, or with `transfer TOKEN TO AMOUNT` send tokens on it."""
    port = int(os.environ.get("DEMO_CHAIN_PORT", "8545"))
    url = f"http://127.0.0.1:{port}"
    if sys.argv[1:2] == ["transfer"]:
        token, to, amount = sys.argv[2:5]
        print(receipt(url, transfer(url, token, to, int(amount)))["transactionHash"])
        return
    process = start(port, state=STATE)
    accounts = call(url, "eth_accounts")
    print(f"chain {CHAIN_ID} {url}\ntoken {token_of(url)}\nowner {accounts[0]}\nfriend {accounts[1]}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        process.wait()
    process.terminate()
    process.wait()


if __name__ == "__main__":
    main()
