"""Sends a bot's sound over one WebSocket, and connects again whenever the connection is lost.

Frames that the client does not take in time wait, up to some seconds of sound. Beyond that the oldest are dropped and
counted, because a live listener wants the latest sound.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp
from yarl import URL

from common.jobs.outgoing import OutgoingRules, check_url
from common.runtime.waiting import backoff, pause
from common.webhooks.address import check_address
from common.webhooks.sender import SEND_ERRORS, fault_of, open_session, user_agent
from common.wire.vocabulary import FeedStatus
from worker.live.frames import DRAIN_S, ready

RETRY_DELAYS_S: Final = (0.5, 30.0)
STEADY_S: Final = 10.0
"""After a connection that lasted this long, the waits before the next attempts are short again."""
PING_S: Final = 20.0
_MOST_RECEIVED_BYTES: Final = 64 * 1024
READ_EVERY_S: Final = 0.01
"""A client's message is read no sooner after the one before: what it sends for no purpose takes nobody else's time."""
READ_BYTES_S: Final = 1_000_000

OnStatus = Callable[[FeedStatus, str], None]
"""Gets each new status of a feed, and its detail."""


class AudioSocket:
    """`most`: how many frames may wait. `timeout_s`: for connecting, and for the client to take a frame. `run` it
    once.
    """

    def __init__(
        self, bot_id: str, url: str, rules: OutgoingRules, most: int, timeout_s: float, on_status: OnStatus
    ) -> None:
        self._bot_id = bot_id
        self._url = url
        self._rules = rules
        self._timeout_s = timeout_s
        self._on_status = on_status
        self._frames: deque[bytes] = deque()
        self._most = most
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._lost = asyncio.Event()
        self._status: FeedStatus | None = None
        self.sent = 0
        self.dropped = 0

    def put(self, frame: bytes) -> None:
        if self._status is FeedStatus.REFUSED:
            return
        self._frames.append(frame)
        while len(self._frames) > self._most:
            self._frames.popleft()
            self.dropped += 1
        self._wake.set()

    def end(self) -> None:
        """No more frames are put. Idempotent."""
        self._ended.set()
        self._wake.set()

    async def run(self) -> None:
        """Send until `end` was called and the rest is sent, or its time is over, or the address may not be called.
        Never raises because of the client.
        """
        delays, loop = backoff(*RETRY_DELAYS_S), asyncio.get_running_loop()
        async with await open_session(self._rules, self._timeout_s) as session:
            while True:
                began = loop.time()
                try:
                    async with asyncio.timeout(self._timeout_s):
                        socket = await self._connect(session)
                    self._tell(FeedStatus.CONNECTED)
                    if await self._send_until_closed(socket):
                        break
                    self._tell(FeedStatus.WAITING, "the connection was closed")
                except SEND_ERRORS as error:
                    fault = fault_of(error)
                    if fault == "address_not_allowed":
                        self._frames.clear()
                        self._tell(FeedStatus.REFUSED, fault)
                        return
                    status = f" ({error.status})" if isinstance(error, aiohttp.WSServerHandshakeError) else ""
                    self._tell(FeedStatus.WAITING, f"{fault}{status}")
                if loop.time() - began > STEADY_S:
                    delays = backoff(*RETRY_DELAYS_S)
                if await pause(self._ended, next(delays)):
                    break
        self.dropped += len(self._frames)
        self._tell(FeedStatus.ENDED)

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        """Raises: SEND_ERRORS."""
        check_url(self._url, self._rules, "ws")
        target = URL(self._url, encoded=self._url.isascii())
        check_address(target.host or "", self._rules)  # the resolver, which checks names, does not see an IP address
        headers = {"User-Agent": user_agent()}
        return await session.ws_connect(
            target, headers=headers, heartbeat=PING_S, autoping=False, max_msg_size=_MOST_RECEIVED_BYTES, compress=0
        )

    async def _send_until_closed(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Send frames over this connection. True: `end` was called, and all is sent. False: the client closed it.

        Raises: SEND_ERRORS.
        """
        self._lost.clear()
        is_done, failed = False, None
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(socket), name=f"listen to who hears {self._bot_id}")
            try:
                async with asyncio.timeout(self._timeout_s):
                    await socket.send_str(ready(self._bot_id))
                is_done = await self._send_all(socket)
            except SEND_ERRORS as error:
                failed = error
            listening.cancel()
            await _close(socket)
        if failed:
            raise failed
        return is_done

    async def _send_all(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        until: float | None = None
        while not self._lost.is_set():
            self._wake.clear()
            if self._ended.is_set():
                until = until or asyncio.get_running_loop().time() + DRAIN_S
                if not self._frames or asyncio.get_running_loop().time() > until:
                    return True
            if not self._frames:
                await self._wake.wait()
                continue
            frame = self._frames.popleft()
            try:
                async with asyncio.timeout(self._timeout_s if until is None else DRAIN_S):
                    await socket.send_bytes(frame)
            except SEND_ERRORS:
                self._frames.appendleft(frame)
                raise
            self.sent += 1
        return False

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Ignore all but pings, and notice when the client closes the connection. What is too fast waits with it."""
        with suppress(*SEND_ERRORS):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.PING:
                    await socket.pong(message.data)
                size = len(message.data) if isinstance(message.data, bytes | str) else 0
                await asyncio.sleep(max(READ_EVERY_S, size / READ_BYTES_S))
        self._lost.set()
        self._wake.set()

    def _tell(self, status: FeedStatus, detail: str = "") -> None:
        if status is not self._status:
            self._status = status
            self._on_status(status, detail)


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Close the connection properly, or without the client's answer after a second."""
    try:
        async with asyncio.timeout(1.0):
            await socket.close()
    except (TimeoutError, OSError, aiohttp.ClientError):
        pass
