"""The JSON-RPC client against nodes that fail in the ways real ones do."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from b3os.chain.chains import Chain, egress_of, load_chains
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, ChainUnreachable, RpcError, read_error, revert_reason
from b3os.errors import BadInput
from b3os.net.http import GuardedClient
from tests.emulators.node import NoAnswer, Node, Said


@pytest.fixture
async def nodes() -> AsyncIterator[list[Node]]:
    started = [await Node().start(), await Node().start()]
    yield started
    for node in started:
        await node.stop()


@pytest.fixture
async def rpc(nodes: list[Node]) -> AsyncIterator[Rpc]:
    chain = Chain(id=31337, name="local", rpc_urls=tuple(node.url for node in nodes))
    http = GuardedClient(allow=egress_of([chain]))
    yield Rpc(chain, http, now=lambda: 0.0)
    await http.close()


async def test_batches_are_put_in_order(rpc: Rpc, nodes: list[Node]) -> None:
    for _ in range(3):
        nodes[0].mine()
    found = await rpc.headers([2, 0, 3, 9])
    assert [header and header.height for header in found] == [2, 0, 3, None]


@pytest.mark.parametrize("status", [429, 500, 502])
async def test_a_failing_upstream_is_left_alone(rpc: Rpc, nodes: list[Node], status: int) -> None:
    def fails(method: str, _: list[object]) -> None:
        raise NoAnswer(status, "<html>no</html>")

    nodes[0].personality = fails
    nodes[1].mine()
    assert await rpc.height() == 1
    calls = len(nodes[0].calls)
    assert await rpc.height() == 1
    assert len(nodes[0].calls) == calls, "blocked until its back-off ends"


async def test_all_upstreams_down_names_hosts_without_paths(nodes: list[Node]) -> None:
    chain = Chain(id=31337, name="local", rpc_urls=("http://127.0.0.1:9/v2/secret-key",))
    http = GuardedClient(allow=egress_of([chain]))
    with pytest.raises(ChainUnreachable) as caught:
        await Rpc(chain, http).height()
    await http.close()
    assert "127.0.0.1" in caught.value.message
    assert "secret-key" not in caught.value.message


async def test_an_upstream_of_another_chain_is_refused(rpc: Rpc, nodes: list[Node]) -> None:
    nodes[0].chain_id = 1
    nodes[1].mine()
    assert await rpc.height() == 1


async def test_a_node_without_batches_is_asked_one_by_one(rpc: Rpc, nodes: list[Node]) -> None:
    nodes[0].mine()
    original = nodes[0]._answer

    async def one_object(request: object) -> object:
        body = await request.json()  # type: ignore[attr-defined]
        if isinstance(body, list):
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batch"}})
        return await original(request)  # type: ignore[arg-type]

    await nodes[0].stop()
    nodes[0]._answer = one_object  # type: ignore[method-assign,assignment]
    await nodes[0].start()
    rpc.upstreams.all[0].url = nodes[0].url
    rpc._http._allow._hosts.add(nodes[0].url.removeprefix("http://"))  # type: ignore[attr-defined]
    assert [header and header.height for header in await rpc.headers([0, 1])] == [0, 1]


async def test_reverts_are_raised_and_not_tried_elsewhere(rpc: Rpc, nodes: list[Node]) -> None:
    with pytest.raises(RpcError) as caught:
        await rpc.eth_call("0x" + "11" * 20, b"\x01\x02\x03\x04")
    assert caught.value.cause is Cause.REVERT
    assert not nodes[1].calls


async def test_missing_data_is_asked_elsewhere(rpc: Rpc, nodes: list[Node]) -> None:
    def pruned(method: str, _: list[object]) -> None:
        if method == "eth_getLogs":
            raise Said(4444, "pruned history unavailable")

    nodes[0].personality = pruned
    assert await rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x0"}) == []
    assert nodes[1].calls


@pytest.mark.parametrize(
    ("code", "message", "cause", "suggested"),
    [
        (-32600, "with up to a 10 block range. This block range should work: [0x64, 0x6d]", Cause.TOO_WIDE, 10),
        (-32005, "query returned more than 10000 results. Try with this block range [0x1, 0x4].", Cause.TOO_WIDE, 4),
        (-32602, "range 1000000 exceeds limit of 10000", Cause.TOO_WIDE, 10000),
        (-32614, "eth_getLogs is limited to a 10,000 range", Cause.TOO_WIDE, 10000),
        (0, "block range is too wide (maximum 1024)", Cause.TOO_WIDE, 1024),
        (0, "please limit the query to at most 500 blocks", Cause.TOO_WIDE, 500),
        (0, "requested too many blocks from 1 to 9000, maximum is set to 2048", Cause.TOO_WIDE, 2048),
        (0, "Block range is too large", Cause.TOO_WIDE, 0),
        (0, "backend response too large", Cause.TOO_WIDE, 0),
        (-32000, "block range is bigger than maxBlockRange", Cause.TOO_WIDE, 0),
        (35, "ranges over 10000 blocks are not supported on freetier", Cause.TOO_WIDE, 10000),
        (-32005, "Too Many Requests", Cause.RATE, 0),
        (-32000, "monthly capacity exceeded, upgrade your plan", Cause.QUOTA, 0),
        (-32000, "missing trie node 0x12", Cause.MISSING, 0),
        (-32602, "block range extends beyond current head block", Cause.MISSING, 0),
        (-32001, "Resource not found", Cause.MISSING, 0),
        (-32602, "BlockOutOfRangeError: block height is 0 but requested was 2457", Cause.MISSING, 0),
        (3, "execution reverted: no", Cause.REVERT, 0),
        (-32602, "invalid argument 0", Cause.OTHER, 0),
    ],
)  # fmt: skip
def test_dialects(code: int, message: str, cause: Cause, suggested: int) -> None:
    found = read_error({"code": code, "message": message})
    assert (found.cause, found.suggested) == (cause, suggested)


def test_revert_reasons() -> None:
    text = "08c379a0" + (32).to_bytes(32, "big").hex() + (3).to_bytes(32, "big").hex() + b"no!".hex().ljust(64, "0")
    assert revert_reason("0x" + text) == "no!"
    assert revert_reason("0x4e487b71" + (17).to_bytes(32, "big").hex()) == "panic 0x11"
    assert revert_reason("0x") == ""


def test_chains_are_data() -> None:
    chains = load_chains('[{"id":31337,"name":"local","rpcUrls":["http://127.0.0.1:8545"]}]')
    assert len(chains) >= 20
    assert chains[8453].name == "Base"
    assert chains[31337].confirmations == 0
    for wrong in ("{", '[{"id":0,"name":"x","rpcUrls":["http://a"]}]', '[{"id":1,"name":"x","rpcUrls":["ftp://a"]}]'):
        with pytest.raises(BadInput, match="B3OS_CHAINS"):
            load_chains(wrong)
