"""Links between processes and servers: R10 Postgres answers nothing, R13 a link is gone, R14 an answer is lost."""

import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from b3os.embedded.supervisor import free_port
from demo import chain as demo
from tests.faults.conftest import Grow
from tests.faults.plant import Plant
from tests.faults.verdict import await_end, check, check_once
from tests.faults.workload import effect, five_nodes, log, publish, send
from tests.system.house import until

pytestmark = pytest.mark.timeout(300)
#: Longer than a lease of 6 s and its discovery; the worker must come back from having lost everything.
GONE_S = 12.0
WAYS = {"both": (True, True), "up": (True, False), "down": (False, True)}


@pytest.mark.parametrize("way", [*WAYS, "cut"])
@pytest.mark.parametrize("link", ["postgres", "ops", "actions"])
@pytest.mark.long
def test_r13_one_workers_link_is_gone_while_another_works(grow: Grow, link: str, way: str) -> None:
    plant = grow("worker", "worker")
    workflow = five_nodes(plant, timeoutMs=2000, maxRetries=10)
    proxy = plant.processes[-1].links[link]
    accepted = send(plant, workflow, range(40))
    if way == "cut":
        proxy.cut()
    else:
        proxy.hold(up=WAYS[way][0], down=WAYS[way][1])
    accepted |= send(plant, workflow, range(100, 160))
    plant.pause(GONE_S)
    proxy.heal()
    accepted |= send(plant, workflow, range(200, 240))
    await_end(plant, workflow, 120)
    check(plant, workflow, accepted.values(), may_retry=link == "actions")
    assert len(plant.ledger.calls("/one")) == len(plant.ledger.calls("/two")) == len(accepted)


def every_second(plant: Plant) -> dict[str, Any]:
    """Publish a workflow that fires each second and runs every slot that was missed."""
    rule = {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=SECONDLY;INTERVAL=1", "missed": "all"}
    root = {"type": "cronjob", "payload": rule, "children": ["a"]}
    say = log()
    say["payload"] = {"message": "{{$trigger.triggeredAt}}"}
    return plant.publish("each second", {"nodes": {"root": root, "a": say}})


def slots(plant: Plant, workflow: dict[str, Any]) -> list[int]:
    """The slots that fired, in unix seconds."""
    sql = """select extract(epoch from (trigger_result ->> 'triggeredAt')::timestamptz)::bigint as slot
        from runs where workflow_id = $1 order by 1"""
    return [row["slot"] for row in plant.ask(sql, workflow["id"])]


def check_slots(plant: Plant, workflow: dict[str, Any]) -> None:
    """I11: each slot between the first and the last fired once."""
    found = slots(plant, workflow)
    assert found == list(range(found[0], found[-1] + 1))


@pytest.mark.parametrize("silent_s", [6.0, pytest.param(75.0, marks=pytest.mark.long)])
def test_r10_postgres_answers_nothing_for_a_while(grow: Grow, silent_s: float) -> None:
    plant = grow("worker", "master")
    cron = every_second(plant)
    hook = five_nodes(plant)
    accepted = send(plant, hook, range(20))
    until(lambda: slots(plant, cron), what="a slot")
    backends = "select pid from pg_stat_activity where datname = current_database() and application_name = 'b3os'"
    pids = [row["pid"] for row in plant.ask(backends)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        plant.pause(silent_s)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    back = int(time.time())
    accepted |= send(plant, hook, range(100, 120))
    until(lambda: slots(plant, cron)[-1] > back, 30, "cron caught up")
    plant.call("POST", f"/v1/workflows/{cron['id']}/pause")
    check_slots(plant, cron)
    await_end(plant, hook)
    await_end(plant, cron)
    check(plant, hook, accepted.values())
    check_once(plant, "/one", "/two", count=40)


@pytest.mark.long
def test_r10_a_call_to_a_silent_database_ends_by_its_deadline(grow: Grow) -> None:
    plant = grow()
    plant.processes[0].links["postgres"].hold()
    request = urllib.request.Request(f"{plant.url}/v1/workflows", headers={"authorization": f"Bearer {plant.key}"})
    with pytest.raises(urllib.error.HTTPError) as failed:
        # 10 s for the statement, and as much for its cancellation, which is as silent.
        urllib.request.urlopen(request, timeout=60)
    failed.value.close()
    assert failed.value.code == 503


def test_r14_the_answer_of_an_effect_is_lost_and_it_is_done_once(grow: Grow) -> None:
    plant = grow("worker")
    workflow = publish(plant, {"one": effect(plant, "/one")}, "one")
    lost = lose_an_answer(plant, lambda: None)
    accepted = send(plant, workflow, [0])
    await_end(plant, workflow)
    assert lost, "an answer was on its way"
    check(plant, workflow, accepted.values())
    check_once(plant, "/one", count=1)


@pytest.fixture
def local_chain() -> Iterator[str]:
    """A chain of its own."""
    port = free_port()
    anvil = demo.start(port)
    yield f"http://127.0.0.1:{port}"
    anvil.terminate()
    anvil.wait()


def test_r14_the_answer_to_a_payment_is_lost_and_it_is_paid_once(grow: Grow, local_chain: str) -> None:
    """Lost on its way first, and then with the process that paid."""
    url = local_chain
    plant = grow("worker", B3OS_CHAINS=f'[{{"id":31337,"name":"local","rpcUrls":["{url}"],"confirmations":0}}]')
    owner, friend = demo.call(url, "eth_accounts")[:2]
    payment = {"recipientAddress": friend, "amount": "12345", "chainId": 31337}
    pay = {"type": "send-native-token", "payload": payment, "connector": {"type": "wallet"}, "children": []}
    root = {"type": "manual", "payload": {}, "children": ["pay"]}
    workflow = plant.publish("pay", {"nodes": {"root": root, "pay": pay}})

    def start() -> str:
        return str(plant.call("POST", f"/v1/workflows/{workflow['id']}/run", {})["data"]["runId"])

    wallet = re.search("0x[0-9a-fA-F]{40}", str(plant.follow(start())))
    assert wallet, "the error names the account that needs coins"
    funds = {"from": owner, "to": wallet[0], "value": hex(10**18)}
    demo.receipt(url, demo.call(url, "eth_sendTransaction", funds))
    before = int(demo.call(url, "eth_getBalance", friend, "latest"), 16)
    actions = plant.processes[1]
    for payments, strike in enumerate((lambda: None, actions.kill), 1):
        lost = lose_an_answer(plant, strike)
        run_id = start()
        until(lambda lost=lost: lost, what="an answer on its way")
        if strike == actions.kill:
            plant.start("actions")
        done = plant.finished_run(run_id)
        assert done["status"] == "success", done["executionState"]
        paid = int(demo.call(url, "eth_getBalance", friend, "latest"), 16) - before
        assert paid == 12345 * payments, "I4: paid once"
        sql = "select attempt from node_runs where run_id = $1 and node_id = 'pay' and final"
        assert plant.ask(sql, run_id)[0]["attempt"] == 1, "asked again under the same key, and no retry burnt"


def lose_an_answer(plant: Plant, act: Callable[[], None]) -> list[None]:
    """Hang up on the worker before the next answer of an action, and call `act` then; the result tells that it was."""
    lost: list[None] = []

    def lose() -> None:
        act()
        lost.append(None)

    link = next(process for process in plant.processes if process.name == "worker").links["actions"]
    link.strike(lambda up, data: not up and b"HTTP/1.1 200" in data, lose)
    return lost
