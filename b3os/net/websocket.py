"""A WebSocket client that reconnects, behind the same guard as HTTP. Messages come in batches, in order.

picows speaks the protocol; what it leaves to its user is here: joining fragments, inflating permessage-deflate under a
size cap, close codes as errors, slowing a peer down that sends faster than we read. A connection that is lost shows
once as Disconnected; the next `receive` opens a new one. How long to wait before that is `retry_s`: the policy is the
caller's. Headers may hold credentials, so neither they nor the URL's query are ever in a log line or an error.
"""

import asyncio
import logging
import socket
import ssl
import zlib
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSParsedURL,
    WSTransport,
    ws_connect,
)

from b3os.errors import BadInput, Unavailable
from b3os.net.guard import AllowList, check_url

# Their debug lines show the handshake with its credentials.
_quiet = logging.getLogger("b3os.net.picows")
_quiet.setLevel(logging.WARNING)

HANDSHAKE_S = 10.0
#: Bytes that may wait to be read before the peer is slowed down.
WAITING = 16 * 1024 * 1024
OFFER = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
TAIL = b"\x00\x00\xff\xff"


class Disconnected(Unavailable):
    """There is no connection: refused (`status` of the answer, if there was one) or ended (`close_code`)."""

    def __init__(self, message: str, *, status: int = 0, close_code: int = 0) -> None:
        super().__init__(message)
        self.http_status = status
        self.close_code = close_code


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect. `backoff` says how many seconds to wait after so many failures in a row.

    `ping_s`: a ping so often, whatever arrives, since some services count on it; its answer has `pong_s`.
    `beat`: a text that is sent every `beat_s` besides, for services that want their pings as messages.
    """

    backoff: Callable[[int], float]
    headers: dict[str, str] = {}
    allow: str = ""
    has_deflate: bool = False
    max_bytes: int = 4 * 1024 * 1024
    ping_s: float = 20.0
    pong_s: float = 10.0
    beat: str = ""
    beat_s: float = 10.0


class WebSocket:
    """One address, and the connection to it while there is one. `on_open` sends what a new connection needs."""

    def __init__(self, url: str, options: Options, on_open: Callable[["WebSocket"], None]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss"):
            raise BadInput("A WebSocket address begins with ws:// or wss://.")
        self._url = url
        self._options = options
        self._on_open = on_open
        self._allow = AllowList(options.allow)
        self._peer: _Peer | None = None
        self._failures = 0
        #: What errors and log lines call the other side.
        self.place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def retry_s(self) -> float:
        """Seconds to wait before the next attempt; grows until a message arrives."""
        return self._options.backoff(self._failures)

    def send(self, text: str | bytes) -> None:
        """Send a text message; without a connection it is dropped, since `on_open` sends what matters."""
        if self._peer is not None and self._peer.lost is None:
            self._peer.transport.send(WSMsgType.TEXT, text.encode() if isinstance(text, str) else text)

    async def receive(self, timeout_s: float) -> list[bytes]:
        """Return all messages that wait, or those of the next moment; nothing after `timeout_s`.

        Opens a connection if there is none. Raises Disconnected once what arrived before the end has been returned.
        """
        if self._peer is None:
            self._peer = await self._connect()
            self._on_open(self)
        found = await self._peer.take(timeout_s)
        if found:
            self._failures = 0
        elif self._peer.lost is not None:
            lost, self._peer = self._peer.lost, None
            self._failures += 1
            raise lost
        return found

    async def close(self) -> None:
        """End the connection, if there is one; `receive` would open another."""
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.transport.send_close(WSCloseCode.OK)
            peer.transport.disconnect(graceful=False)  # a peer that does not read must not hold us up
            await peer.gone.wait()

    def drop(self, why: str) -> None:
        """Give the connection up for a reason of the caller's: the next `receive` raises it."""
        if self._peer is not None:
            self._peer.fail(f"{self.place}: {why}", WSCloseCode.GOING_AWAY)

    async def _connect(self) -> "_Peer":
        options = self._options
        check_url(self._url.replace("ws", "http", 1), self._allow)
        headers = {**options.headers, **({"Sec-WebSocket-Extensions": OFFER} if options.has_deflate else {})}
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                _, peer = await ws_connect(
                    lambda: _Peer(self.place, options),
                    self._url,
                    ssl_context=ssl.create_default_context() if self._url.startswith("wss") else None,
                    extra_headers=headers,
                    max_redirects=0,  # a redirect would carry the credentials to an address that nobody configured
                    max_frame_size=options.max_bytes,
                    enable_auto_ping=True,
                    auto_ping_idle_timeout=options.ping_s,
                    auto_ping_reply_timeout=options.pong_s,
                    auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
                    websocket_handshake_timeout=HANDSHAKE_S,
                    socket_factory=self._socket,
                    logger_name=_quiet,
                )
        except (OSError, WSError, TimeoutError) as error:
            self._failures += 1
            raise self._refused(error) from None  # the cause shows the request's headers
        assert isinstance(peer, _Peer)
        return peer

    def _refused(self, error: Exception) -> Disconnected:
        if isinstance(error, WSHandshakeError) and error.response is not None:
            status = int(error.response.status)
            hint = {401: ": is its key right?", 403: ": is its key right?", 429: ": too many connections"}.get(
                status, ""
            )
            return Disconnected(f"{self.place} answered {status} to the handshake{hint}", status=status)
        text = (
            str(error) if isinstance(error, OSError) and not isinstance(error, TimeoutError) else type(error).__name__
        )
        return Disconnected(f"{self.place} cannot be reached: {text}")

    async def _socket(self, parsed: WSParsedURL) -> socket.socket:
        """Resolve once, check, and connect to the checked address: no name is resolved after this."""
        loop = asyncio.get_running_loop()
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in await loop.getaddrinfo(
            parsed.host, parsed.port, type=socket.SOCK_STREAM
        ):
            if not self._allow.permits(str(address[0]), int(address[1])):
                failure = OSError("the address is private or reserved: open it in the allow list")
                continue
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            try:
                await loop.sock_connect(made, address)
            except BaseException as error:
                made.close()
                if not isinstance(error, OSError):
                    raise
                failure = error
                continue
            return made
        raise failure


class _Peer(WSListener):
    """One connection: joins frames to messages and keeps them until they are taken."""

    transport: WSTransport

    def __init__(self, place: str, options: Options) -> None:
        self.lost: Disconnected | None = None
        self.gone = asyncio.Event()
        self._place = place
        self._options = options
        self._max_bytes = options.max_bytes
        self._news = asyncio.Event()
        self._messages: list[bytes] = []
        self._waiting = 0
        self._is_paused = False
        self._parts: list[bytes] = []
        self._size = 0
        self._is_deflated = False
        self._has_deflate = False
        self._keeps_context = False
        self._inflater = zlib.decompressobj(-15)

    async def take(self, timeout_s: float) -> list[bytes]:
        """Return what waits, or what comes within a time; nothing once the connection has ended."""
        if not self._messages and self.lost is None:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
            except TimeoutError:
                return []
        found, self._messages, self._waiting = self._messages, [], 0
        if self._is_paused and self.lost is None:
            self._is_paused = False
            self.transport.underlying_transport.resume_reading()
        return found

    def fail(self, why: str, code: WSCloseCode) -> None:
        """End the connection for a reason of ours."""
        if self.lost is None:
            self.lost = Disconnected(why, close_code=code.value)
            self.transport.send_close(code)
            self.transport.disconnect(graceful=False)
            self._news.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Note what the server agreed to."""
        self.transport = transport
        agreed = str(transport.response.headers.get("Sec-WebSocket-Extensions", ""))
        self._has_deflate = "permessage-deflate" in agreed
        self._keeps_context = "server_no_context_takeover" not in agreed
        if self._options.beat:
            asyncio.get_running_loop().call_later(self._options.beat_s, self._beat)

    def _beat(self) -> None:
        """Send the text ping, for as long as the connection lives: whoever reads it may be busy for a while."""
        if self.lost is None:
            self.transport.send(WSMsgType.TEXT, self._options.beat.encode())
            asyncio.get_running_loop().call_later(self._options.beat_s, self._beat)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Join fragments; keep a whole message."""
        if self.lost is not None or frame.msg_type in (WSMsgType.PING, WSMsgType.PONG):
            return
        if frame.msg_type is WSMsgType.CLOSE:
            self._closed(frame.get_close_code(), frame.get_close_reason() if frame.payload_size > 2 else "")
            return
        if not self._parts:
            self._is_deflated = bool(frame.rsv1)
        self._parts.append(frame.get_payload_as_bytes())
        self._size += max(frame.payload_size, 1)  # empty fragments are not for free
        if self._size > self._max_bytes:
            self.fail(f"{self._place} sent more than {self._max_bytes} bytes at once", WSCloseCode.MESSAGE_TOO_BIG)
        elif frame.fin:
            message, self._parts, self._size = b"".join(self._parts), [], 0
            self._keep(message)

    def _keep(self, message: bytes) -> None:
        if self._is_deflated:
            inflated = self._inflated(message)
            if inflated is None:
                return
            message = inflated
        self._messages.append(message)
        self._waiting += len(message)
        if self._waiting > WAITING and not self._is_paused:
            self._is_paused = True
            self.transport.underlying_transport.pause_reading()
        self._news.set()

    def _inflated(self, message: bytes) -> bytes | None:
        if not self._has_deflate:
            self.fail(f"{self._place} sent a compressed message unasked", WSCloseCode.PROTOCOL_ERROR)
            return None
        try:
            found = self._inflater.decompress(message + TAIL, self._max_bytes)
        except zlib.error:
            self.fail(f"{self._place} sent a message that cannot be inflated", WSCloseCode.PROTOCOL_ERROR)
            return None
        if self._inflater.unconsumed_tail:
            self.fail(f"{self._place} sent more than {self._max_bytes} bytes at once", WSCloseCode.MESSAGE_TOO_BIG)
            return None
        if not self._keeps_context or self._inflater.eof:
            self._inflater = zlib.decompressobj(-15)
        return found

    def _closed(self, code: WSCloseCode, reason: str) -> None:
        number = code.value if isinstance(code, WSCloseCode) else int(code)
        said = f" {reason[:120]}" if reason else ""
        self.lost = Disconnected(f"{self._place} closed the connection: {number}{said}", close_code=number)
        self.transport.send_close(WSCloseCode.OK)
        self.transport.disconnect()
        self._news.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note the end, and wake whoever waits."""
        if self.lost is None:
            ours = transport.close_handshake.sent if transport.close_handshake is not None else None
            code = WSCloseCode.ABNORMAL_CLOSURE if ours is None else ours.code
            why = "is gone without a close" if ours is None else f"was cut: {code.value} {ours.reason}"
            self.lost = Disconnected(f"{self._place} {why}", close_code=code.value)
        self.gone.set()
        self._news.set()
