"""Credentials come back to their organization only, and are stored encrypted."""

import base64

import pytest

from b3os.auth.connectors import open_credential, seal_credential
from b3os.errors import Unavailable
from b3os.store import connectors, orgs
from b3os.store.pool import open_pool

MASTER = base64.b64encode(bytes(range(32))).decode()


async def test_credential_round_trip_and_binding(pg_url: str) -> None:
    pool = await open_pool(pg_url)
    try:
        await orgs.create_org(pool, "org_a", name="a", slug="a", by="")
        sealed = await seal_credential(pool, "org_a", "conn_a", MASTER, {"token": "hush"})
        assert b"hush" not in sealed
        for name in ("conn_a", "conn_b"):
            await connectors.create_connector(pool, "org_a", name, type="slack", name=name, secret=sealed, by="")
        assert await open_credential(pool, "org_a", "conn_a", MASTER) == {"token": "hush"}
        with pytest.raises(Unavailable):
            await open_credential(pool, "org_a", "conn_b", MASTER)
    finally:
        await pool.close()
