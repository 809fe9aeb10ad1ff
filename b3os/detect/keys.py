"""Exact keys of the trigger index: what other sources than logs look their events up by. Pure.

A kind is a namespace of keys, declared once here; its number never changes while an index lives. Keys are bytes of at
most 96; longer ones are hashed, so that a mail address of any length has one.
"""

import hashlib
from enum import IntEnum

#: What the index takes as it is (KEY_LIMIT of trigger_index.pyx).
LONGEST = 96


class KeyKind(IntEnum):
    """The kinds of keys."""

    NATIVE_TO = 1
    NATIVE_FROM = 2
    WEBHOOK_SECRET = 3
    SLACK_CHANNEL = 4
    POLYMARKET_MARKET = 5
    POLYMARKET_USER = 6
    MAILBOX = 7
    REVERTED_TO = 8
    REVERTED_FROM = 9
    BLOCK = 10


def exact_key(*parts: str) -> bytes:
    """Return the key of one or more texts, such as a workspace and its channel; two different lists never share one."""
    key = b"\0".join(part.encode() for part in parts)
    if len(key) > LONGEST or any("\0" in part for part in parts) or key[:1] == b"\0":
        # NUL first: no key that was taken as it is begins so.
        return b"\0" + hashlib.sha256(repr(parts).encode()).digest()
    return key


def folded_key(*parts: str) -> bytes:
    """Return the key of texts whose case says nothing: addresses of chains and of mail."""
    return exact_key(*(part.strip().lower() for part in parts))
