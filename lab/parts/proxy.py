"""A wire to Redis that can be cut, so that one part can be cut off, or only some of the clients of a wire.

It breaks whole connections, as routers and cables do, and does not read their content.
"""

import asyncio
import socket
import struct
from collections.abc import Collection
from contextlib import suppress
from enum import StrEnum
from typing import Final

_CHUNK: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: the other side gets a reset, not an end


class Wire(StrEnum):
    OPEN = "open"
    CUT = "cut"  # connections are reset, and new ones refused
    HOLE = "hole"  # nothing passes and nothing is refused; bytes on their way arrive when the wire is normal again
    DELAY = "delay"  # everything arrives, later
    HALF = "half"  # each connection dies in the middle of its next answer; new ones pass


class Proxy:
    """An async context manager. `url` is what its client is to use."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._state = Wire.OPEN
        self._delay_s = 0.0
        self._shut: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self.port = 0

    async def __aenter__(self) -> "Proxy":
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._state, self._shut = Wire.OPEN, frozenset()
        self._change()
        await self._close()
        if self._reserved:
            self._reserved.close()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def set(self, state: Wire, delay_s: float = 0.0) -> None:
        """Set the wire from now on. Idempotent."""
        self._state, self._delay_s = state, delay_s
        if state is Wire.CUT:
            await self._close()
        elif self._server is None:
            await self._open()
        if state is Wire.HALF:
            for pair in self._pairs:
                pair.dies_in_answer = True
        self._change()

    def shut_out(self, sources: Collection[str]) -> None:
        """From now on pass nothing on connections from these addresses, new ones and existing ones."""
        self._shut = frozenset(sources)
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _pass(self, source: str) -> None:
        """Returns when connections from that address pass again."""
        while self._state is Wire.HOLE or source in self._shut:
            await self._changed.wait()

    async def _open(self) -> None:
        listener, self._reserved = self._reserved or _bound(self.port), None
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._carry, sock=listener)

    async def _close(self) -> None:
        """Refuse connections from now on. The port stays reserved: it is bound, and nothing listens on it."""
        if self._server:
            self._server.close()
            self._server = None
            self._reserved = _bound(self.port)
        for pair in list(self._pairs):
            pair.reset()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = str(writer.get_extra_info("peername")[0])
        await self._pass(source)
        try:
            there = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            _reset(writer)
            return
        pair = _Pair(source, (reader, writer), there)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pump(pair, reader, there[1]), name="to Redis")
                ways.create_task(self._pump(pair, there[0], writer, answers=True), name="from Redis")
        except* OSError:
            pass  # either side is gone
        finally:
            self._pairs.discard(pair)
            pair.reset()

    async def _pump(
        self, pair: "_Pair", source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        """Raises: OSError when either side is gone."""
        while data := await source.read(_CHUNK):
            await self._pass(pair.source)
            if self._delay_s and self._state is Wire.DELAY:
                await asyncio.sleep(self._delay_s)
            if sink.transport.is_closing():
                break
            if answers and pair.dies_in_answer:
                sink.write(data[: len(data) // 2])
                await sink.drain()
                break
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError


class _Pair:
    """A pair of connections, which looks like one to both ends."""

    def __init__(
        self,
        source: str,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.source = source
        self._writers = (here[1], there[1])
        self.dies_in_answer = False

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.setblocking(False)
    return listener


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        with suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
