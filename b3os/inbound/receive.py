"""The one admission path of inbound calls: whose address, is it signed, does the trigger want it, one transaction.

Whoever listens ends here, so that a call means the same wherever it arrives. Nothing of a call is believed before its
signature: the body is not even decoded. What repeats is answered with the run that it made.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from b3os import metrics
from b3os.auth.connectors import open_credential
from b3os.detect.signatures import Signed, verify
from b3os.detect.webhooks import (
    HIDDEN_HEADERS,
    PROVIDER_TYPES,
    WEBHOOK_TYPES,
    Occurrence,
    WebhookWatch,
    call_result,
    parse_webhook,
    read_call,
)
from b3os.errors import B3osError, BadInput, NotFound, Unauthenticated
from b3os.ids import RUN, new_id, receipt_key
from b3os.inbound.admission import Admission
from b3os.inbound.keep import REFUSED, Keeper
from b3os.inbound.targets import Targets
from b3os.queue.broker import Broker
from b3os.run.times import rfc3339
from b3os.store import webhooks as store
from b3os.store.admission import Proposal
from b3os.store.pool import Pool
from b3os.store.webhooks import Target

SOURCE = "webhook"
KEY_LIMIT = 255
BAD_BODY, BAD_KEY, BAD_PROVIDER, NOT_KEPT, OTHER_BODY = 400433, 400434, 400436, 400435, 422000


class Call(msgspec.Struct, frozen=True):
    """A call as it came; header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes


class Fired(msgspec.Struct, frozen=True):
    """What a call did. `status` is admission's, or `skipped` for an event that is none of the trigger's.

    `challenge` is not empty when the other side only asked whether this address is ours.
    """

    run_id: str | None
    status: str
    reason: str = ""
    challenge: str = ""


class _Checked(msgspec.Struct, frozen=True):
    """A call whose signature holds: for which trigger, and what makes it the same call again.

    `key` is the Idempotency-Key, where that is what does.
    """

    target: Target
    watch: WebhookWatch
    identity: str
    key: str = ""


class Inbox:
    """Receives calls for the workflows of all organizations, on the engine's role."""

    def __init__(
        self,
        pool: Pool,
        broker: Broker,
        master_key: str,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._master_key = master_key
        self._now_ms = now_ms
        self._keeper = Keeper(pool)
        self._admission = Admission(pool, broker)
        self._targets = Targets(pool, time.monotonic)

    async def settle(self) -> None:
        """Wait until what was received can be listed."""
        await self._keeper.settle()

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._admission.close()
        await self._keeper.settle()

    async def receive(self, secret: str, call: Call, *, org_id: str = "", has_data: bool = False) -> Fired:
        """Take a call to a workflow's address; `has_data` when the body may be `{data}` around what was meant."""
        targets = await self.targets(secret, org_id)
        return await self._take(await self._check(targets, call), call, has_data=has_data)

    async def receive_for(self, org_id: str, provider: str, call: Call, *, secret: str = "") -> list[Fired]:
        """Take a provider's call for an organization: for one workflow, or for all whose secret signed it."""
        kind = PROVIDER_TYPES.get(provider)
        if kind is None:
            raise BadInput(f"{provider!r} is none of {', '.join(sorted(PROVIDER_TYPES))}, webhook", code=BAD_PROVIDER)
        if secret:
            targets = [target for target in await self.targets(secret, org_id) if target.type == kind]
            return [await self._take(await self._check(targets, call), call)]
        checked, refused = [], Unauthenticated("no trigger of this organization has this signature", code=401011)
        for target in await store.targets_of_type(self._pool, org_id, kind):
            try:
                checked.append(await self._verify(target, call))
            except Unauthenticated as error:
                refused = error
        if not checked:
            raise refused
        return [await self._take(one, call) for one in checked]

    async def targets(self, secret: str, org_id: str = "") -> list[Target]:
        """Return the trigger nodes of an address; NotFound tells an unknown one and another organization's alike."""
        found = await self._targets.of(secret)
        if not found or (org_id and found[0].org_id != org_id):
            raise NotFound("no workflow has this webhook address: check it, or publish the workflow")
        return found

    async def replay(self, org_id: str, workflow_id: str, call_id: str) -> Fired:
        """Take a kept call again, as a new event: it was checked when it came."""
        call = await store.get_call(self._pool, org_id, workflow_id, call_id)
        if call.status == REFUSED or call.body is None:
            why = "it was refused" if call.status == REFUSED else "its body was too large to keep"
            raise BadInput(f"call {call_id} cannot be replayed: {why}", code=NOT_KEPT)
        targets = await store.targets_of_workflow(self._pool, org_id, workflow_id)
        target = next((one for one in targets if one.node_id == call.node_id), None)
        if target is None:
            raise BadInput(f"the trigger node {call.node_id} is no longer live: publish the workflow", code=NOT_KEPT)
        checked = _Checked(target, parse_webhook(target.type, target.payload), f"replay:{new_id('evt')}")
        return await self._take(checked, Call(call.headers, call.body), is_replay=True)

    async def _check(self, targets: Sequence[Target], call: Call) -> _Checked:
        """Return the trigger that a call is for: the first whose signature holds, signed ones before others."""
        chosen = [target for target in targets if target.type in WEBHOOK_TYPES] or list(targets[:1])
        if not chosen:
            raise NotFound("no trigger of this workflow takes such calls: publish one that does")
        refused: Unauthenticated | None = None
        for target in sorted(chosen, key=lambda one: not _is_signed(one)):
            try:
                return await self._verify(target, call)
            except Unauthenticated as error:
                refused = refused or error
                last = target
        assert refused is not None
        self._refuse(last, call, refused)
        raise refused

    def _refuse(self, target: Target, call: Call, why: B3osError) -> None:
        metrics.WEBHOOKS.labels(REFUSED).inc()
        self._keeper.keep(target, call.headers, call.body, status=REFUSED, reason=why.message, run_id=None)

    async def _verify(self, target: Target, call: Call) -> _Checked:
        watch = parse_webhook(target.type, target.payload)
        if not watch.scheme:
            key = call.headers.get("idempotency-key", "")
            if len(key) > KEY_LIMIT:
                raise BadInput(f"Idempotency-Key has at most {KEY_LIMIT} characters", code=BAD_KEY)
            return _Checked(target, watch, f"webhook:{key or new_id('req')}", key)
        secret = watch.secret or await self._secret(target.org_id, watch.connector_id)
        identity = verify(watch.scheme, Signed(call.headers, call.body, secret, self._now_ms() / 1000))
        return _Checked(target, watch, f"{watch.scheme}:{identity}")

    async def _secret(self, org_id: str, connector_id: str) -> str:
        try:
            found = await open_credential(self._pool, org_id, connector_id, self._master_key)
        except NotFound:
            return ""
        return str(found.get("signingSecret", ""))

    async def _take(self, checked: _Checked, call: Call, *, has_data: bool = False, is_replay: bool = False) -> Fired:
        body = decoded(call)
        if checked.watch.scheme == "slack" and isinstance(body, dict) and body.get("type") == "url_verification":
            return Fired(None, "skipped", "the address was verified", str(body.get("challenge", "")))
        if has_data and isinstance(body, dict):
            body = body.get("data", body)
        occurrence = read_call(checked.watch, body, call.headers)
        if occurrence is None:
            fired = Fired(None, "skipped", "the event is none that this trigger listens to")
        else:
            try:
                fired = await self._admit(checked, occurrence, body, call.headers, is_replay=is_replay)
            except BadInput as error:
                self._refuse(checked.target, call, error)
                raise
        metrics.WEBHOOKS.labels(fired.status).inc()
        if not is_replay:
            self._keeper.keep(
                checked.target,
                call.headers,
                call.body,
                status=fired.status,
                reason=fired.reason,
                run_id=fired.run_id,
            )
        return fired

    async def _admit(
        self, checked: _Checked, occurrence: Occurrence, body: Any, headers: Mapping[str, str], *, is_replay: bool
    ) -> Fired:
        self._broker.check_room()
        target, at = checked.target, self._now_ms()
        identity = checked.identity if is_replay else occurrence.identity or checked.identity
        shown = {name: value for name, value in headers.items() if name not in HIDDEN_HEADERS}
        result = call_result(occurrence, body, shown, rfc3339(at))
        proposal = Proposal(
            org_id=target.org_id,
            workflow_id=target.workflow_id,
            version=target.version,
            node_id=target.node_id,
            receipt=receipt_key(target.workflow_id, target.node_id, identity),
            run_id=new_id(RUN),
            source=SOURCE,
            result=result,
            now_ms=at,
        )
        outcome = await self._admission.admit(proposal)
        if outcome.status == "duplicate" and checked.key and not occurrence.identity:
            await self._check_repeat(checked, outcome.run_id, body)
        known = outcome.run_id or None if outcome.status in ("accepted", "duplicate") else None
        return Fired(known, outcome.status)

    async def _check_repeat(self, checked: _Checked, run_id: str, body: Any) -> None:
        """Raise BadInput for another body under a key that made a run: it is another event, and must not be lost."""
        if await store.has_other_body(self._pool, checked.target.org_id, run_id, body):
            raise BadInput(
                f"Idempotency-Key {checked.key!r} made run {run_id} of another body: send that body again, "
                "or this one with a new key",
                code=OTHER_BODY,
            )


def _is_signed(target: Target) -> bool:
    return bool(parse_webhook(target.type, target.payload).scheme)


def decoded(call: Call) -> Any:
    """Decode a body: JSON, or a form where its type says so; an empty one is {}.

    `curl -d` calls everything a form: what begins as JSON is JSON.
    """
    is_form = call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if is_form and call.body.lstrip()[:1] not in (b"{", b"["):
        try:
            return dict(parse_qsl(call.body.decode(), keep_blank_values=True, max_num_fields=1000))
        except ValueError as error:
            raise BadInput("the body is no form: correct its encoding", code=BAD_BODY) from error
    try:
        return msgspec.json.decode(call.body) if call.body.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"the body is not JSON: {error}", code=BAD_BODY) from error
