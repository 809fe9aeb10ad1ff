"""Inbound webhooks: one admission path for every listener, signed and unsigned; what is kept, replayed and rotated."""

import time
from typing import Any

import asyncpg
import msgspec
import pytest

from b3os.detect.sample_calls import CALLS
from b3os.inbound.receive import Inbox
from b3os.wire import explained
from services.api.app import Api
from services.api.house import House
from services.master.listener import Listener
from tests.emulators.senders import SECRETS, sign
from tests.services.client import Client

TYPES = {
    "stripe": "stripe-payment-receive",
    "shopify": "shopify-order-created",
    "coinbase": "coinbase-payment-received",
    "telegram": "telegram-channel",
    "farcaster": "farcaster-new-cast",
}


class Sender:
    """Publishes workflows of one organization and calls them as a service would."""

    def __init__(self, house: House, client: Client, door: Client) -> None:
        self.client = client
        #: Where calls are sent.
        self.door = door
        self.house = house
        self.key = client.keys["mine"]
        self._api = Api(house)

    async def connector(self, secret: str) -> str:
        body = {"name": "s", "type": "webhook-secret", "data": {"signingSecret": secret}}
        return str((await self.client.call("POST", "/v1/connectors", self.key, body))[1]["data"]["id"])

    async def publish(self, kind: str, payload: dict[str, Any] | None = None, connector: str = "") -> tuple[int, Any]:
        node: dict[str, Any] = {"type": kind, "payload": payload or {}, "children": []}
        if connector:
            node["connector"] = {"type": "webhook-secret", "id": connector}
        made = (
            await self.client.call(
                "POST", "/v1/workflows", self.key, {"name": "n", "definition": {"nodes": {"root": node}}}
            )
        )[1]
        return await self.client.call("POST", f"/v1/workflows/{made['data']['id']}/publish", self.key)

    async def signed(self, service: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        status, answer = await self.publish(TYPES[service], payload, await self.connector(SECRETS[service]))
        assert status == 200, answer
        return dict(answer["data"])

    async def send(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        return await self.door.call("POST", path, raw=body, headers=headers)

    async def event(self, path: str, service: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        raw = msgspec.json.encode(CALLS[service] if body is None else body)
        return await self.send(path, raw, sign(service, raw, at=options.pop("at", int(time.time())), **options))

    async def run(self, run_id: str) -> Any:
        return (await self.client.call("GET", f"/v1/runs/{run_id}", self.key))[1]["data"]["executionState"]["root"][
            "result"
        ]

    async def calls(self, workflow: dict[str, Any]) -> list[Any]:
        path = f"/v1/workflows/{workflow['id']}/webhook-calls"
        return list((await self.client.call("GET", path, self.key))[1]["data"]["items"])


@pytest.fixture(params=["api", "master"])
def sender(house: House, client: Client, request: pytest.FixtureRequest) -> Sender:
    """Every test is made at the API's routes and at a master's listener."""
    return Sender(house, client, client if request.param == "api" else Client(Listener(house.desk)))


RESULTS = {
    "stripe": {"paymentId": "pi_1", "amount": 2000, "currency": "usd", "customer": "cus_1"},
    "shopify": {"orderId": 820982911946154508, "totalPrice": "398.00", "shop": "mine.myshopify.com"},
    "coinbase": {"paymentId": "69163c762331cb43a74ac3a9", "amount": "10.00"},
    "telegram": {"chatId": -1001234567890, "text": "Listing of B3 today", "messageId": 7},
    "farcaster": {"hash": "0xfe90f9de682273e05b201629ad2338bdcd89b6be", "fid": 3, "channel": "b3"},
}


@pytest.mark.parametrize("service", sorted(TYPES))
async def test_a_signed_event_runs_once_however_often_it_is_sent(sender: Sender, service: str) -> None:
    workflow = await sender.signed(service)
    path = f"/v1/webhooks/{workflow['triggerSecret']}"
    _, first = await sender.event(path, service)
    assert first["data"]["status"] == "accepted"
    _, again = await sender.event(path, service, at=int(time.time()) - 5)
    assert again["data"] == {"runId": first["data"]["runId"], "status": "duplicate"}
    result = await sender.run(first["data"]["runId"])
    assert RESULTS[service].items() <= result.items()
    assert result["event"] == result["body"] == CALLS[service]
    assert SECRETS[service] not in str(result)


@pytest.mark.parametrize("service", sorted(TYPES))
async def test_a_provider_route_finds_who_listens_by_the_signature(sender: Sender, service: str) -> None:
    await sender.signed(service)
    path = f"/v1/orgs/{sender.client.ids['orgs']}/integrations/{service}"
    status, answer = await sender.event(path, service)
    assert (status, answer["data"]["action"], len(answer["data"]["runIds"])) == (200, "triggered", 1)
    status, answer = await sender.event(path, service, secret="whsec_another_secret")
    assert (status, answer["code"]) == (401, 401011)
    status, _ = await sender.event(path.replace(sender.client.ids["orgs"], "org_other"), service)
    assert status == 401


@pytest.mark.parametrize("service", sorted(TYPES))
async def test_a_provider_trigger_without_a_secret_cannot_be_published(sender: Sender, service: str) -> None:
    status, answer = await sender.publish(TYPES[service])
    assert (status, answer["code"]) == (400, 400228)
    assert "webhook-secret" in answer["message"]


async def test_a_connector_of_nobody_is_refused_when_publishing(sender: Sender) -> None:
    status, _ = await sender.publish(TYPES["stripe"], {}, "conn_unknown")
    assert status == 404


async def test_a_wrong_signature_runs_nothing_and_is_kept_without_its_body(sender: Sender) -> None:
    workflow = await sender.signed("stripe")
    path = f"/v1/webhooks/{workflow['triggerSecret']}"
    status, answer = await sender.event(path, "stripe", secret="whsec_wrong")
    assert (status, answer["code"]) == (401, 401011)
    assert (await sender.event(path, "stripe", at=int(time.time()) - 360))[1]["code"] == 401012
    assert (await sender.send(path, b"{}"))[1]["code"] == 401010
    kept = await sender.calls(workflow)
    assert [(call["status"], call["runId"], call["body"]) for call in kept] == [("refused", None, None)] * 3
    assert kept[1]["headers"]["stripe-signature"] == "•••"
    replay = f"/v1/workflows/{workflow['id']}/webhook-calls/{kept[0]['id']}/replay"
    assert (await sender.client.call("POST", replay, sender.key))[1]["code"] == 400435


async def test_an_event_of_another_kind_is_skipped_with_a_reason(sender: Sender) -> None:
    workflow = await sender.signed("stripe")
    refunded = {**CALLS["stripe"], "type": "charge.refunded"}
    _, answer = await sender.event(f"/v1/webhooks/{workflow['triggerSecret']}", "stripe", refunded)
    assert answer["data"] == {"runId": None, "status": "skipped"}
    assert "none that this trigger listens to" in (await sender.calls(workflow))[0]["reason"]


@pytest.mark.parametrize(
    ("service", "payload", "status"),
    [
        ("stripe", {"eventTypes": ["charge.refunded", "payment_intent.succeeded"]}, "accepted"),
        ("stripe", {"eventTypes": "charge.refunded"}, "skipped"),
        ("shopify", {"shop": "other.myshopify.com"}, "skipped"),
        ("telegram", {"chatId": "@News", "keywords": "LISTING"}, "accepted"),
        ("telegram", {"chatId": -1001234567890}, "accepted"),
        ("telegram", {"keywords": ["delisting"]}, "skipped"),
        ("farcaster", {"fids": [3], "username": "DWR.eth"}, "accepted"),
        ("farcaster", {"fids": [4]}, "skipped"),
    ],
)
async def test_filters_of_a_provider_trigger(sender: Sender, service: str, payload: Any, status: str) -> None:
    workflow = await sender.signed(service, payload)
    _, answer = await sender.event(f"/v1/webhooks/{workflow['triggerSecret']}", service)
    assert answer["data"]["status"] == status


async def test_an_idempotency_key_makes_a_repeat_harmless_and_its_length_is_bounded(sender: Sender) -> None:
    _, made = await sender.publish("webhook")
    path, headers = f"/v1/webhooks/{made['data']['triggerSecret']}", {"idempotency-key": "k"}
    _, first = await sender.send(path, b'{"a":1,"b":[null]}', headers)
    _, again = await sender.send(path, b'{"b": [null], "a": 1.0}', headers)
    assert (again["data"]["status"], again["data"]["runId"]) == ("duplicate", first["data"]["runId"])
    assert (await sender.send(path, b"{}", {"idempotency-key": "k" * 256}))[1]["code"] == 400434
    form = {"content-type": "application/x-www-form-urlencoded"}
    _, answer = await sender.send(path, b"a=1&b=x+y", form)
    assert (await sender.run(answer["data"]["runId"]))["body"] == {"a": "1", "b": "x y"}
    for garbage in (b"{", b"NaN", b"[" * 100_000, b'{"a":"\xff"}'):
        assert (await sender.send(path, garbage))[1]["code"] == 400433


@pytest.mark.parametrize("bodies", [(b'{"a":1}', b'{"a":true}'), (b"null", b"{}"), (b"[]", b"null"), (b"", b"0")])
async def test_a_key_that_comes_with_another_body_is_refused(sender: Sender, bodies: tuple[bytes, bytes]) -> None:
    _, made = await sender.publish("webhook")
    path, headers = f"/v1/webhooks/{made['data']['triggerSecret']}", {"idempotency-key": "k"}
    _, first = await sender.send(path, bodies[0], headers)
    status, answer = await sender.send(path, bodies[1], headers)
    assert (status, answer["code"]) == (422, 422000)
    assert first["data"]["runId"] in answer["message"]
    _, again = await sender.send(path, bodies[0], headers)
    assert again["data"] == {"runId": first["data"]["runId"], "status": "duplicate"}
    assert sorted(call["status"] for call in await sender.calls(made["data"])) == ["accepted", "duplicate", "refused"]


@pytest.mark.parametrize("body", [b"", b"n=1&m=2", b'{"n": 1'])
async def test_a_body_that_was_cut_off_starts_nothing(sender: Sender, body: bytes) -> None:
    workflow = (await sender.publish("webhook"))[1]["data"]
    path = f"/v1/webhooks/{workflow['triggerSecret']}"
    form = {"content-type": "application/x-www-form-urlencoded"}
    status, answer = await sender.door.call("POST", path, raw=body, headers=form, is_cut=True)
    assert (status, "whole body" in answer["message"]) == (400, True)
    _, runs = await sender.client.call("GET", f"/v1/runs?workflowId={workflow['id']}", sender.key)
    assert runs["data"]["items"] == []


@pytest.mark.parametrize(
    ("body", "seen"),
    [(b'{"runId": null, "nodeId": null, "data": {"n": 1}}', {"n": 1}), (b"n=1", {"n": "1"}), (b'{"n": 1}', {"n": 1})],
)
async def test_the_address_of_an_organization_takes_what_the_other_takes(
    sender: Sender, body: bytes, seen: dict[str, Any]
) -> None:
    workflow = (await sender.publish("webhook"))[1]["data"]
    path = f"/v1/orgs/{sender.client.ids['orgs']}/integrations/webhook?secret={workflow['triggerSecret']}"
    form = {"content-type": "application/x-www-form-urlencoded"}
    status, answer = await sender.send(path, body, form)
    assert (status, answer["data"]["action"]) == (200, "triggered")
    assert (await sender.run(answer["data"]["runIds"][0]))["body"] == seen


async def test_a_fault_of_ours_is_logged_without_the_secret(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workflow = (await sender.publish("webhook"))[1]["data"]

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(Inbox, "receive", fail)
    status, _ = await sender.send(f"/v1/webhooks/{workflow['triggerSecret']}", b"{}")
    (record,) = [one for one in caplog.records if one.message == "request failed"]
    assert (status, vars(record)["path"]) == (500, "/v1/webhooks/{secret}")
    assert workflow["triggerSecret"] not in caplog.text


@pytest.mark.parametrize(
    "kind", [asyncpg.AdminShutdownError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError]
)
def test_a_database_that_stops_starts_or_is_full_is_a_503(kind: type[Exception]) -> None:
    assert explained(kind("it cannot be used now"), "/v1/runs").status == 503


async def test_slack_is_answered_its_challenge_only_when_it_signed_it(sender: Sender) -> None:
    _, made = await sender.publish("webhook", {"signature": "slack", "signingSecret": SECRETS["slack"]})
    path = f"/v1/webhooks/{made['data']['triggerSecret']}"
    status, answer = await sender.event(path, "slack", {"type": "url_verification", "challenge": "abc"})
    assert (status, answer) == (200, {"challenge": "abc"})
    assert (await sender.event(path, "slack", {"type": "event_callback"}))[1]["data"]["status"] == "accepted"
    assert (await sender.event(path, "slack", {"type": "url_verification"}, secret="no"))[0] == 401


async def test_a_kept_call_is_replayed_as_a_new_event(sender: Sender) -> None:
    workflow = await sender.signed("stripe")
    _, first = await sender.event(f"/v1/webhooks/{workflow['triggerSecret']}", "stripe")
    (call,) = await sender.calls(workflow)
    assert (call["status"], call["runId"]) == ("accepted", first["data"]["runId"])
    assert call["body"] == CALLS["stripe"]
    path = f"/v1/workflows/{workflow['id']}/webhook-calls/{call['id']}/replay"
    status, answer = await sender.client.call("POST", path, sender.key)
    assert (status, answer["data"]["action"]) == (200, "triggered")
    (run_id,) = answer["data"]["runIds"]
    assert run_id != first["data"]["runId"]
    assert (await sender.run(run_id))["paymentId"] == "pi_1"
    assert (await sender.client.call("POST", path, sender.client.keys["theirs"]))[0] == 404


async def test_old_calls_leave_and_refused_ones_never_push_out_others(sender: Sender, monkeypatch: Any) -> None:
    monkeypatch.setattr("b3os.store.webhooks.KEPT", 3)
    monkeypatch.setattr("b3os.store.webhooks.KEPT_REFUSED", 2)
    monkeypatch.setattr("b3os.inbound.keep.PRUNE_EVERY", 1)
    workflow = await sender.signed("stripe")
    path = f"/v1/webhooks/{workflow['triggerSecret']}"
    for number in range(5):
        await sender.event(path, "stripe", {**CALLS["stripe"], "id": f"evt_{number}"})
    for _ in range(5):
        await sender.send(path, b"{}")
    kept = await sender.calls(workflow)
    assert [call["status"] for call in kept] == ["refused"] * 2 + ["accepted"] * 3
    assert [call["body"]["id"] for call in kept[2:]] == ["evt_4", "evt_3", "evt_2"]


async def test_a_rotated_secret_ends_the_old_one_after_its_grace(sender: Sender, monkeypatch: Any) -> None:
    monkeypatch.setattr("b3os.inbound.targets.FRESH_S", 0.0)
    _, made = await sender.publish("webhook")
    old, path = made["data"]["triggerSecret"], f"/v1/workflows/{made['data']['id']}/rotate-secret"
    _, rotated = await sender.client.call("POST", path, sender.key, {})
    new = rotated["data"]["triggerSecret"]
    assert rotated["data"]["oldSecretUntil"] > "2026"
    for secret in (old, new):
        assert (await sender.send(f"/v1/webhooks/{secret}", b"{}"))[0] == 200
    # The grace ends.
    await sender.house.pool.execute("update workflows set old_secret_until = now()")
    assert (await sender.send(f"/v1/webhooks/{old}", b"{}"))[0] == 404
    _, rotated = await sender.client.call("POST", path, sender.key, {"graceSeconds": 0})
    assert rotated["data"]["oldSecretUntil"] is None
    assert (await sender.send(f"/v1/webhooks/{new}", b"{}"))[0] == 404
    assert (await sender.send(f"/v1/webhooks/{rotated['data']['triggerSecret']}", b"{}"))[0] == 200
    assert (await sender.client.call("POST", path, sender.key, {"graceSeconds": 10**7}))[1]["code"] == 400410


async def test_a_signature_of_a_contract_event_is_no_scheme(sender: Sender) -> None:
    payload = {"chainId": 8453, "eventSignature": "Paid(uint256 amount)", "signature": "Paid(uint256)"}
    _, made = await sender.publish("evm-log", payload)
    _, answer = await sender.send(f"/v1/webhooks/{made['data']['triggerSecret']}", b"{}")
    assert answer["data"]["status"] == "accepted"
