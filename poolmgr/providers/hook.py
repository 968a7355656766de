"""A program of the operator's that makes VMs and takes them back: one start for each question, JSON in and out.

It gets one object on standard input: {"do": "look"}, {"do": "grow", "to": 7}, {"do": "give_back", "vm_id": "vm-3",
"left": 6}, {"do": "release", "vm_id": "vm-3"} or {"do": "admit", "vm_id": "vm-9"}. To "look" it answers with an object
on standard output: `wanted`, and optionally `vms`, `ends_last`, `leaving` and `arriving` (poolmgr.scaling.steps.Group).
Exit code 0 means that it is done; with any other the first line of standard error is the fault. A program that is not
done within the deadline is killed, with all that it started.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from poolmgr.providers.provider import ProviderError
from poolmgr.scaling.steps import Group

_MOST_BYTES: Final = 4_000_000
"""The largest answer in bytes: enough for the names of fifty thousand VMs."""
_MOST_WORDS: Final = 300
_ENDED_S: Final = 5.0


class Hook:
    """`command`: program and arguments, without a shell."""

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        self._command = command
        self._timeout_s = timeout_s

    async def look(self) -> Group:
        answer = await self._ask({"do": "look"})
        try:
            return msgspec.json.decode(answer, type=Group)
        except msgspec.MsgspecError as error:
            raise ProviderError(f"cannot read what {self._command[0]} answered to look: {error}") from error

    async def grow(self, to: int) -> None:
        await self._ask({"do": "grow", "to": to})

    async def give_back(self, vm_id: str, left: int) -> None:
        await self._ask({"do": "give_back", "vm_id": vm_id, "left": left})

    async def release(self, vm_id: str) -> None:
        await self._ask({"do": "release", "vm_id": vm_id})

    async def admit(self, vm_id: str) -> None:
        await self._ask({"do": "admit", "vm_id": vm_id})

    async def close(self) -> None:
        """Does nothing: no process stays open between two requests."""

    async def _ask(self, question: dict[str, Any]) -> bytes:
        name = self._command[0]
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as error:
            raise ProviderError(f"cannot start {name} (scaling.command): {error.strerror}") from error
        try:
            async with asyncio.timeout(self._timeout_s):
                answer, fault = await _speak(process, msgspec.json.encode(question))
                code = await process.wait()
        except TimeoutError as error:
            raise ProviderError(f"{name} was not done after {self._timeout_s:g} s and was killed") from error
        finally:
            _kill(process)  # and whatever it has left running
            # asyncio closes the pipes of a child by itself only when they were read to their end.
            process._transport.close()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ENDED_S):
                    await process.wait()
        if answer is None or fault is None:
            raise ProviderError(f"{name} wrote more than {_MOST_BYTES:,} bytes")
        if code:
            said = fault.decode(errors="replace").strip().splitlines()
            raise ProviderError(
                f"{name} ended with code {code}: {said[0][:_MOST_WORDS] if said else 'it said nothing'}"
            )
        return answer


async def _speak(process: asyncio.subprocess.Process, question: bytes) -> tuple[bytes | None, bytes | None]:
    """What it wrote to standard output and error; None: too much."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read
        process.stdin.write(question + b"\n")
        await process.stdin.drain()
    process.stdin.close()
    answer, fault = await asyncio.gather(_read(process.stdout, process), _read(process.stderr, process))
    return answer, fault


async def _read(stream: asyncio.StreamReader, process: asyncio.subprocess.Process) -> bytes | None:
    parts = list[bytes]()
    read = 0
    while part := await stream.read(65536):
        read += len(part)
        if read > _MOST_BYTES:
            _kill(process)  # and read on: asyncio waits for the end of a process until its pipes are read empty
            parts.clear()
        else:
            parts.append(part)
    return b"".join(parts) if read <= _MOST_BYTES else None


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
