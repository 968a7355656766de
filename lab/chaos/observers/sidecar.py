"""Runs the wires to Redis and the witness in a process of its own. The suite's own loop is busy for long when it looks
at everything, and the judged programs must not wait for that.

`Apart` starts the process and speaks with it over a socket, a line of JSON at a time. The process ends when the socket
is closed, so it never outlives the suite.
"""

import asyncio
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

import msgspec
import uvloop

from lab.chaos.observers.witness import Mark, Sightings, Witness
from lab.parts.proxy import Proxy, Wire

_ROOT: Final = Path(__file__).parents[3]
_DEADLINE_S: Final = 60.0  # for an answer, on a machine that may be very busy
_PULSE_S: Final = 0.1
_LATE_S: Final = 0.1  # a wake-up that is this late means that the machine did not let the process run


class ApartError(Exception):
    """The process did not start, or ended too early."""


class Order(msgspec.Struct, frozen=True, tag=True):
    """Set a wire. `upstream_port`: make it first."""

    number: int
    wire: int
    state: Wire = Wire.OPEN
    delay_s: float = 0.0
    upstream_port: int = 0


class Begun(msgspec.Struct, frozen=True, tag=True):
    address: str


class Done(msgspec.Struct, frozen=True, tag=True):
    number: int
    port: int


class Saw(msgspec.Struct, frozen=True, tag=True):
    mark: Mark


class Late(msgspec.Struct, frozen=True, tag=True):
    """How long the machine did not let the process run, in all."""

    seconds: float


Said = Begun | Done | Saw | Late
_SAID: Final[msgspec.json.Decoder[Said]] = msgspec.json.Decoder(Said)


class FarWire:
    """A Proxy in that process."""

    def __init__(self, apart: "Apart", number: int, port: int) -> None:
        self._apart = apart
        self._number = number
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"

    async def set(self, state: Wire, delay_s: float = 0.0) -> None:
        """Set the wire from now on. Idempotent."""
        await self._apart.order(self._number, state, delay_s)


class Apart:
    """A context in which the process runs. `witness`: what the witness has seen. `late_s`: how long the machine did not
    let the process run.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.witness = Sightings()
        self.late_s = 0.0
        self._orders = 0
        self._wires = 0
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._exits = AsyncExitStack()
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lab.chaos.observers.sidecar",
                str(theirs.fileno()),
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # so that Ctrl-C goes to the suite only
            )
        self.pid = process.pid
        self._exits.push_async_callback(process.wait)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._exits.callback(self._writer.close)
        try:
            async with asyncio.timeout(_DEADLINE_S):
                self.witness.address = msgspec.json.decode(await reader.readline(), type=Begun).address
        except (TimeoutError, msgspec.DecodeError) as error:
            await self._exits.aclose()
            raise ApartError("the process of the wires and of the witness does not start") from error
        tasks = await self._exits.enter_async_context(asyncio.TaskGroup())
        listening = tasks.create_task(self._listen(reader), name="listen to the witness")
        self._exits.callback(listening.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def lay(self, upstream_port: int) -> FarWire:
        """Make a wire to that port."""
        self._wires += 1
        return FarWire(self, self._wires, await self.order(self._wires, upstream_port=upstream_port))

    async def order(self, wire: int, state: Wire = Wire.OPEN, delay_s: float = 0.0, upstream_port: int = 0) -> int:
        """Carry out an order. Returns the wire's port."""
        assert self._writer
        self._orders += 1
        answer = self._answers[self._orders] = asyncio.get_running_loop().create_future()
        self._writer.write(_line(Order(self._orders, wire, state, delay_s, upstream_port)))
        async with asyncio.timeout(_DEADLINE_S):
            return await answer

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            said: Said = _SAID.decode(line)
            match said:
                case Saw(mark):
                    self.witness.take(mark)
                case Done(number, port):
                    self._answers.pop(number).set_result(port)
                case Late(seconds):
                    self.late_s = seconds
                case Begun():
                    pass
        raise ApartError("the process of the wires and of the witness has ended")


class _There:
    """The process itself."""

    def __init__(self, writer: asyncio.StreamWriter, witness: Witness, exits: AsyncExitStack) -> None:
        self._writer = writer
        self._exits = exits
        self._wires: dict[int, Proxy] = {}
        witness.on_mark = lambda mark: self._say(Saw(mark))
        self._say(Begun(witness.address))

    async def obey(self, reader: asyncio.StreamReader) -> None:
        """Carry out orders until the socket is closed."""
        while line := await reader.readline():
            order = msgspec.json.decode(line, type=Order)
            if order.upstream_port:
                proxy = await self._exits.enter_async_context(Proxy(order.upstream_port))
                self._wires[order.wire] = proxy
            else:
                proxy = self._wires[order.wire]
                await proxy.set(order.state, order.delay_s)
            self._say(Done(order.number, proxy.port))

    async def feel_pulse(self) -> None:
        """Report how late it woke up, in all, whenever that grows."""
        lost_s = 0.0
        while True:
            before = time.monotonic()
            await asyncio.sleep(_PULSE_S)
            late_s = time.monotonic() - before - _PULSE_S
            if late_s > _LATE_S:
                lost_s += late_s
                self._say(Late(round(lost_s, 3)))

    def _say(self, said: Said) -> None:
        self._writer.write(_line(said))


def _line(message: Order | Said) -> bytes:
    return msgspec.json.encode(message) + b"\n"


async def _serve(descriptor: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    async with Witness() as witness, AsyncExitStack() as exits, asyncio.TaskGroup() as tasks:
        there = _There(writer, witness, exits)
        pulse = tasks.create_task(there.feel_pulse(), name="feel the pulse")
        await there.obey(reader)
        pulse.cancel()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
