"""The WebSocket client against a server that writes its frames byte by byte."""

import asyncio
import base64
import hashlib
import logging
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from b3os.errors import BadInput
from b3os.net.websocket import Disconnected, Options, WebSocket

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
LIMIT_S = 10.0
SECRET = "Basic c2VjcmV0"


def frame(payload: bytes, opcode: int = TEXT, *, is_last: bool = True, is_deflated: bool = False) -> bytes:
    head = bytes([(128 if is_last else 0) | (64 if is_deflated else 0) | opcode])
    size = len(payload)
    if size < 126:
        return head + bytes([size]) + payload
    if size < 65536:
        return head + b"\x7e" + struct.pack(">H", size) + payload
    return head + b"\x7f" + struct.pack(">Q", size) + payload


class Deflater:
    """Compresses messages as permessage-deflate does, with or without a window that lives on."""

    def __init__(self, *, keeps_context: bool) -> None:
        self.keeps_context = keeps_context
        self._state = zlib.compressobj(wbits=-15)

    def frame(self, message: bytes) -> bytes:
        if not self.keeps_context:
            self._state = zlib.compressobj(wbits=-15)
        data = self._state.compress(message) + self._state.flush(zlib.Z_SYNC_FLUSH)
        return frame(data[:-4], is_deflated=True)


class Server:
    """Shakes hands, then gives each connection to `script(reader, writer)`."""

    def __init__(self) -> None:
        self.script: Callable[[Server], Awaitable[None]] | None = None
        self.status = 101
        self.extensions = ""
        self.handshakes: list[str] = []
        self.heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.writer: asyncio.StreamWriter
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, tls: ssl.SSLContext | None = None) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        if hasattr(self, "writer"):
            self.writer.transport.abort()

    def write(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.handshakes.append(request)
        if self.status != 101:
            writer.write(f"HTTP/1.1 {self.status} No\r\nContent-Length: 0\r\nLocation: http://x/\r\n\r\n".encode())
            await writer.drain()
            writer.close()
            return
        lines = dict(line.split(": ", 1) for line in request.split("\r\n") if ": " in line)
        key = next(value for name, value in lines.items() if name.lower() == "sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        extra = f"Sec-WebSocket-Extensions: {self.extensions}\r\n" if self.extensions else ""
        writer.write(
            f"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extra}"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self.writer = writer
        if self.script is not None:
            await self.script(self)
        try:
            while True:
                await self._hear(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        first, second = await reader.readexactly(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack(">H", await reader.readexactly(2))
        mask = await reader.readexactly(4)
        data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(await reader.readexactly(size)))
        if first & 15 == PING:
            self.write(frame(data, PONG))
        await self.heard.put((first & 15, data))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = await Server().start()
    yield found
    await found.stop()


def client(server: Server, opened: list[str] | None = None, **options: object) -> WebSocket:
    def on_open(socket: WebSocket) -> None:
        if opened is not None:
            opened.append("open")
        socket.send("hello")

    settings: dict[str, object] = {
        "backoff": float,
        "headers": {"Authorization": SECRET},
        "allow": f"127.0.0.1:{server.port}",
        "has_deflate": True,
        **options,
    }
    return WebSocket(f"ws://127.0.0.1:{server.port}/feed?token=hidden", Options(**settings), on_open)  # type: ignore[arg-type]


async def receive(socket: WebSocket, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        found += await socket.receive(LIMIT_S)
    return found


def answers(*frames: bytes) -> Callable[[Server], Awaitable[None]]:
    async def script(server: Server) -> None:
        server.write(*frames)

    return script


@pytest.mark.parametrize("keeps_context", [True, False])
async def test_compressed_messages_with_either_kind_of_window(server: Server, keeps_context: bool) -> None:
    server.extensions = "permessage-deflate" + ("" if keeps_context else "; server_no_context_takeover")
    made = Deflater(keeps_context=keeps_context)
    wanted = [b'{"type":"oracle_prices","n":%d}' % number * 50 for number in range(40)]
    server.script = answers(*(made.frame(one) for one in wanted))
    socket = client(server)
    assert await receive(socket, 40) == wanted
    assert "permessage-deflate" in server.handshakes[0]
    assert f"authorization: {SECRET}".lower() in server.handshakes[0].lower()
    await socket.close()


async def test_fragments_with_a_ping_between_them_are_one_message(server: Server) -> None:
    server.script = answers(
        frame(b"a", is_last=False), frame(b"?", PING), frame(b"b", CONTINUATION, is_last=False),
        frame(b"c", CONTINUATION), frame(b"d", BINARY),
    )  # fmt: skip
    socket = client(server)
    assert await receive(socket, 2) == [b"abc", b"d"]
    async with asyncio.timeout(LIMIT_S):
        heard = [await server.heard.get() for _ in range(2)]
    assert set(heard) == {(TEXT, b"hello"), (PONG, b"?")}
    await socket.close()


async def test_a_lost_connection_shows_once_and_is_opened_again(server: Server) -> None:
    opened: list[str] = []
    server.script = answers(frame(b"one"))
    socket = client(server, opened)
    assert await receive(socket, 1) == [b"one"]
    server.writer.transport.abort()
    with pytest.raises(Disconnected, match="gone without a close") as lost:
        await socket.receive(LIMIT_S)
    assert (lost.value.close_code, socket.retry_s) == (1006, 1.0)
    assert await receive(socket, 1) == [b"one"]
    assert (opened, socket.retry_s) == (["open", "open"], 0.0)
    await socket.close()


async def test_what_came_before_the_close_is_read_before_its_reason_is_raised(server: Server) -> None:
    server.script = answers(frame(b"last words"), frame(struct.pack(">H", 1008) + b"too much", CLOSE))
    socket = client(server)
    assert await receive(socket, 1) == [b"last words"]
    with pytest.raises(Disconnected, match="1008 too much") as lost:
        await socket.receive(LIMIT_S)
    assert lost.value.close_code == 1008


@pytest.mark.parametrize(
    ("extensions", "sent", "text"),
    [
        ("permessage-deflate", Deflater(keeps_context=True).frame(b"\0" * 500_000), "more than 1000 bytes"),
        ("", frame(b"x" * 600, is_last=False) + frame(b"x" * 600, CONTINUATION), "more than 1000 bytes"),
        ("", frame(b"x" * 1001), "1009"),
        ("", frame(b"x", is_deflated=True), "unasked"),
        ("permessage-deflate", frame(b"\xff\xff\xff", is_deflated=True), "cannot be inflated"),
    ],
    ids=["bomb", "fragments", "frame", "unasked", "broken"],
)
async def test_what_would_hurt_us_ends_the_connection(server: Server, extensions: str, sent: bytes, text: str) -> None:
    server.extensions, server.script = extensions, answers(sent)
    socket = client(server, max_bytes=1000)
    with pytest.raises(Disconnected, match=text):
        await socket.receive(LIMIT_S)


async def test_a_peer_that_answers_no_ping_is_given_up(server: Server) -> None:
    server.script = answers()

    async def deaf(reader: asyncio.StreamReader) -> None:
        await reader.readexactly(1)

    server._hear = deaf  # type: ignore[method-assign]
    socket = client(server, ping_s=0.05, pong_s=0.05)
    with pytest.raises(Disconnected):
        await socket.receive(LIMIT_S)


async def test_pings_are_sent_although_messages_arrive(server: Server) -> None:
    socket = client(server, ping_s=0.3, pong_s=0.3)
    reading = asyncio.create_task(socket.receive(LIMIT_S))
    async with asyncio.timeout(LIMIT_S):
        while (await server.heard.get())[0] != PING:
            server.write(frame(b"busy"))
    await reading
    await socket.close()


async def test_a_reader_that_falls_behind_slows_the_peer_and_loses_nothing(server: Server) -> None:
    message = b"m" * 1_000_000

    async def flood(server: Server) -> None:
        for _ in range(60):
            server.write(frame(message))
            await server.writer.drain()

    server.script = flood
    socket = client(server)
    first = await socket.receive(LIMIT_S)
    peer = socket._peer
    assert peer is not None
    async with asyncio.timeout(LIMIT_S):
        while not peer._is_paused:
            await asyncio.sleep(0)
    assert peer._waiting < 25_000_000
    rest = await receive(socket, 60 - len(first))
    assert len(first) + len(rest) == 60
    await socket.close()


@pytest.mark.parametrize("status", [401, 403, 429, 500, 302])
async def test_a_refused_handshake_says_the_status_and_never_the_key(
    server: Server, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.status = status
    socket = client(server)
    for failures in (1, 2):
        with pytest.raises(Disconnected, match=str(status)) as refused:
            await socket.receive(LIMIT_S)
        assert (refused.value.http_status, socket.retry_s) == (status, failures)
    said = f"{refused.value} {refused.value.__cause__} {caplog.text}"
    assert SECRET not in said
    assert "hidden" not in said
    assert len(server.handshakes) == 2, "no redirect is followed"


@pytest.mark.parametrize(
    ("url", "allow", "text"),
    [
        ("ws://127.0.0.1:{port}/", "", "Port"),
        ("ws://localhost:{port}/", "localhost:{port}", "private or reserved"),
        ("ws://user:pass@127.0.0.1:{port}/", "127.0.0.1:{port}", "user name"),
        ("http://127.0.0.1:{port}/", "127.0.0.1:{port}", "ws://"),
        ("ws://127.0.0.1:1/", "127.0.0.1:1", "cannot be reached"),
    ],
)
async def test_the_guard_stands_before_every_connection(server: Server, url: str, allow: str, text: str) -> None:
    options = Options(backoff=float, allow=allow.format(port=server.port))

    async def connect() -> None:
        await WebSocket(url.format(port=server.port), options, lambda _: None).receive(LIMIT_S)

    with pytest.raises((Disconnected, BadInput), match=text):
        await connect()
    assert server.handshakes == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for localhost that only itself vouches for, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "localhost.pem"
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_certificate_is_checked(certificate: Path, is_trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server = await Server().start(tls)
    server.script = answers(frame(b"safe"))
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    options = Options(backoff=float, allow=f"localhost:{server.port},127.0.0.0/8,::1/128")
    socket = WebSocket(f"wss://localhost:{server.port}/", options, lambda _: None)
    if is_trusted:
        assert await receive(socket, 1) == [b"safe"]
    else:
        with pytest.raises(Disconnected, match="certificate"):
            await socket.receive(LIMIT_S)
    await socket.close()
    await server.stop()


async def test_the_caller_can_give_a_connection_up(server: Server) -> None:
    socket = client(server)
    assert await socket.receive(0.01) == []
    socket.drop("no news")
    with pytest.raises(Disconnected, match="no news"):
        await socket.receive(LIMIT_S)
    await socket.close()
    socket.send("nobody hears this")


async def test_a_text_ping_is_sent_while_nobody_reads(server: Server) -> None:
    socket = client(server, beat="PING", beat_s=0.02)
    server.script = answers(frame(b"first"))
    assert await receive(socket, 1) == [b"first"]
    async with asyncio.timeout(LIMIT_S):
        assert await server.heard.get() == (TEXT, b"hello")
        for _ in range(3):
            assert await server.heard.get() == (TEXT, b"PING")
    await socket.close()
