"""Envelope encryption: AES-256-GCM under a data key per organization, wrapped by the master key."""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from b3os.errors import Unavailable

VERSION = 1
NONCE = 12


def _aad(org_id: str, name: str) -> bytes:
    return "\x1f".join((org_id, name, str(VERSION))).encode()


def _master(master_key: str) -> AESGCM:
    try:
        key = base64.b64decode(master_key, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise Unavailable("B3OS_MASTER_KEY is not 32 bytes in base64: set it")
    return AESGCM(key)


def _seal(cipher: AESGCM, plain: bytes, aad: bytes) -> bytes:
    nonce = os.urandom(NONCE)
    return bytes([VERSION]) + nonce + cipher.encrypt(nonce, plain, aad)


def _open(cipher: AESGCM, sealed: bytes, aad: bytes) -> bytes:
    if not sealed or sealed[0] != VERSION:
        raise Unavailable("a secret has an unknown version: upgrade")
    try:
        return cipher.decrypt(sealed[1 : 1 + NONCE], sealed[1 + NONCE :], aad)
    except InvalidTag as error:
        raise Unavailable("a secret cannot be decrypted: check B3OS_MASTER_KEY") from error


def new_data_key(master_key: str, org_id: str) -> bytes:
    """Make an organization's data key, wrapped."""
    return _seal(_master(master_key), AESGCM.generate_key(256), _aad(org_id, "data-key"))


def encrypt(master_key: str, wrapped: bytes, org_id: str, name: str, plain: bytes) -> bytes:
    """Encrypt a secret called `name` under the organization's data key."""
    data_key = _open(_master(master_key), wrapped, _aad(org_id, "data-key"))
    return _seal(AESGCM(data_key), plain, _aad(org_id, name))


def decrypt(master_key: str, wrapped: bytes, org_id: str, name: str, sealed: bytes) -> bytes:
    """Decrypt a secret; another organization's or another name's is refused."""
    data_key = _open(_master(master_key), wrapped, _aad(org_id, "data-key"))
    return _open(AESGCM(data_key), sealed, _aad(org_id, name))
