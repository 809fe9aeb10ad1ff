"""Calls of an actions process that are asked for again, and that are in hand when it stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from b3os.actions.catalog import Catalog
from b3os.actions.spec import ActionSpec, HealthProbe, Operation, Provider
from b3os.actions.upstreams import Upstreams
from b3os.chain.registry import Chains
from b3os.embedded.supervisor import free_port
from b3os.errors import ActionFailed, Unavailable
from b3os.net.http import GuardedClient
from b3os.process import serve_asgi
from services.actions.app import ActionsApp
from services.actions.calls import ANSWER_BYTES, KEPT_BYTES, Calls, Done, Key

ONCE = Key("org_a", "pay", "run_1::pay")


class Effects:
    """Counts what is carried out; a closed `gate` holds it back, and `held` tells that it does."""

    def __init__(self, *, answer: bytes = b"{}", is_effect: bool = True) -> None:
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = asyncio.Event()
        self._done = Done(answer, is_effect)

    async def carry_out(self) -> Done:
        self.count += 1
        if not self.gate.is_set():
            self.held.set()
            await self.gate.wait()
        return self._done


async def test_a_call_that_is_asked_for_again_while_it_runs_is_carried_out_once() -> None:
    calls, effects = Calls(), Effects()
    effects.gate.clear()
    first = asyncio.create_task(calls.answer(ONCE, effects.carry_out))
    second = asyncio.create_task(calls.answer(ONCE, effects.carry_out))
    await asyncio.sleep(0)
    first.cancel()  # who asked has hung up: what it asked for goes on
    await asyncio.sleep(0)
    effects.gate.set()
    assert await second == b"{}"
    assert effects.count == 1


async def test_the_answer_of_an_effect_is_given_again_to_its_own_organization() -> None:
    calls, effects = Calls(), Effects(answer=b'{"first":1}')
    for _ in range(3):
        assert await calls.answer(ONCE, effects.carry_out) == b'{"first":1}'
    assert effects.count == 1
    await calls.answer(Key("org_b", ONCE.type, ONCE.idempotency_key), effects.carry_out)
    assert effects.count == 2
    for _ in range(2):
        await calls.answer(Key("org_a", "pay", ""), effects.carry_out)
    assert effects.count == 4, "a call without a key is nobody's repeat"


async def test_failures_reads_and_large_answers_are_carried_out_again() -> None:
    calls = Calls()
    for effects in (Effects(is_effect=False), Effects(answer=b"x" * (ANSWER_BYTES + 1))):
        for _ in range(2):
            await calls.answer(ONCE, effects.carry_out)
        assert effects.count == 2


async def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    calls, effects = Calls(), Effects(answer=b"x" * ANSWER_BYTES)
    room = KEPT_BYTES // ANSWER_BYTES
    for number in range(room + 1):
        await calls.answer(Key("org_a", "pay", str(number)), effects.carry_out)
    assert effects.count == room + 1
    await calls.answer(Key("org_a", "pay", str(room)), effects.carry_out)
    assert effects.count == room + 1
    await calls.answer(Key("org_a", "pay", "0"), effects.carry_out)
    assert effects.count == room + 2


async def test_a_call_that_breaks_is_forgotten() -> None:
    calls, effects = Calls(), Effects()

    async def broken() -> Done:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await calls.answer(ONCE, broken)
    assert await calls.answer(ONCE, effects.carry_out) == b"{}"


async def test_late_calls_and_new_ones_are_given_up_when_the_process_stops() -> None:
    calls, effects, quick = Calls(), Effects(), Effects()
    effects.gate.clear()
    late = asyncio.create_task(calls.answer(ONCE, effects.carry_out))
    await asyncio.sleep(0)
    await calls.drain(0.01)
    with pytest.raises(Unavailable) as stopped:
        await late
    with pytest.raises(Unavailable):
        await calls.answer(Key("org_a", "pay", "new"), quick.carry_out)
    assert (stopped.value.code, quick.count) == (503050, 0)


class Nothing(msgspec.Struct, frozen=True):
    """A payload, and a result."""


@asynccontextmanager
async def process(effects: Effects, grace_s: float) -> AsyncIterator[tuple[str, asyncio.Event, "asyncio.Task[None]"]]:
    """An actions process with one action, `pay`; fails while `effects` says so."""

    async def run(_payload: Any, _context: Any) -> Nothing:
        if not (await effects.carry_out()).is_effect:
            raise ActionFailed("no", retryable=True)
        return Nothing()

    spec = ActionSpec(
        type="pay", title="Pay", description="Pay once.", payload=Nothing, result=Nothing, run=run,
        operation=Operation.WRITE, category="test", health=HealthProbe(waived="for a test"),
    )  # fmt: skip
    http = GuardedClient("")
    app = ActionsApp(
        Catalog((Provider(name="test", title="Test", actions=(spec,)),)),
        http=http, upstreams=Upstreams(http, ""), chains=Chains({}, http), signer=None, internal_key="k",
    )  # fmt: skip
    stop, ready, port = asyncio.Event(), asyncio.Event(), free_port()
    serving = asyncio.create_task(
        serve_asgi(app, "127.0.0.1", port, stop, on_ready=ready.set, drain=lambda: app.drain(grace_s))
    )
    await ready.wait()
    try:
        yield f"http://127.0.0.1:{port}/execute", stop, serving
    finally:
        effects.gate.set()
        stop.set()
        await serving
        await http.close()


async def pay(session: aiohttp.ClientSession, url: str, key: str = "once") -> tuple[int, Any, str]:
    """Call; returns status, answer and what becomes of the connection."""
    call = {"type": "pay", "inputs": {}, "orgId": "org_a", "idempotencyKey": key}
    async with session.post(url, json=call, headers={"x-internal-key": "k"}) as response:
        return response.status, await response.json(), response.headers.get("connection", "")


@pytest.mark.parametrize(("grace_s", "status", "code"), [(20.0, 200, None), (0.05, 503, 503050)])
async def test_a_stopping_process_answers_what_it_has_in_hand(grace_s: float, status: int, code: int | None) -> None:
    effects = Effects()
    async with process(effects, grace_s) as (url, stop, serving), aiohttp.ClientSession() as session:
        assert (await pay(session, url, "before"))[0] == 200
        effects.gate.clear()
        in_hand = asyncio.create_task(pay(session, url))
        await effects.held.wait()
        stop.set()
        if grace_s > 1:
            with pytest.raises(aiohttp.ClientConnectorError):
                await pay_for_ever(url)
            effects.gate.set()
        told, answer, connection = await in_hand
        assert (told, answer.get("code"), connection) == (status, code, "close")
        async with asyncio.timeout(5):
            await serving


async def pay_for_ever(url: str) -> None:
    """Call on new connections, until none is accepted; one that waited to be accepted is hung up."""
    async with asyncio.timeout(20):
        while True:
            async with aiohttp.ClientSession() as session:
                try:
                    await pay(session, url, "before")
                except aiohttp.ClientConnectorError:
                    raise
                except aiohttp.ClientConnectionError:
                    continue


async def test_a_failure_may_be_tried_again_under_its_key() -> None:
    failing, working = Effects(is_effect=False), Effects()
    async with process(failing, 1.0) as (url, _, _), aiohttp.ClientSession() as session:
        for _ in range(2):
            assert (await pay(session, url))[1]["success"] is False
        assert failing.count == 2
    async with process(working, 1.0) as (url, _, _), aiohttp.ClientSession() as session:
        for _ in range(2):
            assert (await pay(session, url))[1] == {"success": True, "data": {}}
        assert working.count == 1
