"""Who signs transactions. `Signer` is the seam; `LocalKeystore` is for development only, and says so.

The keystore keeps one key per organization in the Web3 Secret Storage format (version 3, scrypt). Every intent is
written to disk, signed, before it is broadcast: the same idempotency key finds the same bytes again, whatever died
in between, so that an intent reaches the chain at most once.
"""

import fcntl
import hashlib
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from b3os.abi.signature import checksum
from b3os.errors import ActionFailed

log = logging.getLogger("b3os.chain")

#: scrypt work factor: development keys on a developer's machine, opened once per process.
SCRYPT_N = 1 << 14


class Intent(msgspec.Struct, frozen=True):
    """A signed transaction that is on its way: its hash, nonce and raw bytes as 0x strings."""

    hash: str
    nonce: int
    raw: str


class Account(msgspec.Struct, frozen=True):
    """Whose transactions: an organization on a network, which is a chain id and the hash of its first block.

    A local chain that is started anew is another network: what was signed for the old one is never sent on it.
    """

    org_id: str
    network: str


class Signer(Protocol):
    """Signs for organizations; the key never leaves it."""

    def address(self, org_id: str) -> str:
        """Return the account of an organization."""

    def find(self, account: Account, key: str) -> Intent | None:
        """Return the intent of an idempotency key, if it was signed before."""

    def unseen(self, account: Account, pending_nonce: int) -> list[Intent]:
        """Return the kept intents that the chain does not know yet, by nonce."""

    def sign(self, account: Account, key: str, transaction: dict[str, Any], pending_nonce: int) -> Intent:
        """Sign a transaction without a nonce, and keep it; its nonce is the next that no kept intent has."""

    def discard(self, account: Account, key: str, intent: Intent) -> None:
        """Forget an intent that no node has seen; its nonce is free again."""


class LocalKeystore:
    """Keys in an encrypted folder. For development: whoever has the folder and the password has the money."""

    def __init__(self, folder: Path, password: str) -> None:
        self._folder = folder
        self._password = password
        self._accounts: dict[str, Any] = {}
        log.warning("transactions are signed by a local keystore: for development only")

    def address(self, org_id: str) -> str:
        """Return the account of an organization; its key is made when it is first asked for."""
        return str(self._account(org_id).address)

    def find(self, account: Account, key: str) -> Intent | None:
        """Return the kept intent of an idempotency key."""
        path = self._home(account) / f"{hashlib.sha256(key.encode()).hexdigest()}.intent"
        return msgspec.json.decode(path.read_bytes(), type=Intent) if path.exists() else None

    def unseen(self, account: Account, pending_nonce: int) -> list[Intent]:
        """Return the kept intents from a nonce on."""
        found: list[Intent] = []
        while (path := self._home(account) / f"{pending_nonce + len(found)}.nonce").exists():
            found.append(msgspec.json.decode(path.read_bytes(), type=Intent))
        return found

    def sign(self, account: Account, key: str, transaction: dict[str, Any], pending_nonce: int) -> Intent:
        """Sign and keep an intent; one signer at a time per organization, processes included."""
        keeper, home = self._account(account.org_id), self._home(account)
        with self._locked(account.org_id):
            kept = self.find(account, key)
            if kept is not None:
                return kept
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            nonce = pending_nonce + len(self.unseen(account, pending_nonce))
            to = checksum(bytes.fromhex(transaction["to"][2:]))
            signed = keeper.sign_transaction({**transaction, "to": to, "nonce": nonce})
            intent = Intent("0x" + bytes(signed.hash).hex(), nonce, "0x" + bytes(signed.raw_transaction).hex())
            data = msgspec.json.encode(intent)
            # The key first: after a crash between the two the key finds its intent, and only the nonce is free again.
            _write(home / f"{hashlib.sha256(key.encode()).hexdigest()}.intent", data)
            _write(home / f"{nonce}.nonce", data)
        return intent

    def discard(self, account: Account, key: str, intent: Intent) -> None:
        """Forget an intent that no node has seen, unless a later one is signed on top of it."""
        home = self._home(account)
        with self._locked(account.org_id):
            if not (home / f"{intent.nonce + 1}.nonce").exists():
                (home / f"{intent.nonce}.nonce").unlink(missing_ok=True)
                (home / f"{hashlib.sha256(key.encode()).hexdigest()}.intent").unlink(missing_ok=True)

    def _home(self, account: Account) -> Path:
        return self._folder / account.org_id / account.network

    def _account(self, org_id: str) -> Any:
        if not org_id.replace("_", "").isalnum():
            raise ActionFailed("the organization's id has an odd form", category="internal")
        if org_id not in self._accounts:
            with self._locked(org_id):
                self._accounts[org_id] = self._open(org_id)
        return self._accounts[org_id]

    def _open(self, org_id: str) -> Any:
        accounts = _eth_account()
        path = self._folder / f"{org_id}.json"
        if not path.exists():
            sealed = accounts.encrypt(secrets.token_bytes(32), self._password, kdf="scrypt", iterations=SCRYPT_N)
            _write(path, msgspec.json.encode(sealed))
        try:
            return accounts.from_key(accounts.decrypt(path.read_text(), self._password))
        except ValueError as error:
            raise ActionFailed(
                "the keystore does not open with B3OS_KEYSTORE_PASSWORD",
                category="config",
                remediation="set the password that the keystore was made with",
            ) from error

    @contextmanager
    def _locked(self, org_id: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / f"{org_id}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _eth_account() -> Any:
    """Import what only signing needs, and keep the recursion limit.

    One of its dependencies raises the limit to 100,000: any deeply nested JSON would then overflow the C stack and
    end the process, where it is a RecursionError otherwise.
    """
    limit = sys.getrecursionlimit()
    from eth_account import Account as EthAccount

    sys.setrecursionlimit(limit)
    return EthAccount


def _write(path: Path, data: bytes) -> None:
    """Replace a file so that a crash leaves the old one or the new one, on the disk."""
    beside = path.with_suffix(path.suffix + ".new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.replace(path)
