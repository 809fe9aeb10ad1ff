"""Identifiers: a prefix, an underscore, and 20 characters that sort by time.

12 characters of milliseconds and 8 of randomness would collide under load, so: 9 characters (45 bits) of
milliseconds since 1970 in base 32 (0-9a-v), 11 characters (55 bits) of randomness.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable

ALPHABET = "0123456789abcdefghijklmnopqrstuv"

ORG, WORKFLOW, RUN, USER, KEY, CONNECTOR = "org", "wf", "run", "user", "ak", "conn"

_RUN_ID = re.compile(r"^run_\w{1,64}$", re.ASCII)


def _base32(value: int, width: int) -> str:
    out = []
    for _ in range(width):
        out.append(ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(out))


def new_id(
    prefix: str,
    *,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> str:
    """Make an id such as `run_0hq3k2v5t…`; later ids sort after earlier ones within a prefix."""
    return f"{prefix}_{_base32(now_ms(), 9)}{_base32(random_bits(55), 11)}"


def new_secret(bits: int = 192) -> str:
    """Make an unguessable URL-safe secret (webhook secrets, key material)."""
    return secrets.token_urlsafe(bits // 8)


def is_run_id(value: str) -> bool:
    """Say whether a client-chosen run id has the accepted form."""
    return _RUN_ID.match(value) is not None


def receipt_key(workflow_id: str, trigger_node: str, identity: str) -> bytes:
    """Hash workflow, trigger node and event identity into the 32-byte key that makes an event accepted once."""
    return hashlib.sha256("\x1f".join((workflow_id, trigger_node, identity)).encode()).digest()


def run_id_for(key: bytes) -> str:
    """Derive the run id from a receipt key, so that a replayed event finds its own run."""
    return f"{RUN}_{_base32(int.from_bytes(key[:13], 'big') >> 4, 20)}"
