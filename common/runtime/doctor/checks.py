"""A check looks at one thing, and says what it found and what to do. All checks run at once, each with its deadline.

A check changes nothing.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Severity(StrEnum):
    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    """Bots join, but something is worse than it could be."""
    ERROR = "error"
    """Bots will not join, or will be lost."""


class Found(NamedTuple):
    """`what`: what was found. `todo`: what to do about it; empty: nothing."""

    severity: Severity
    what: str
    todo: str = ""


class Check(NamedTuple):
    """`look` makes the check. If it raises OSError, or takes longer than `deadline_s`, that is an error with the advice
    `todo`.
    """

    name: str
    deadline_s: float
    look: Callable[[], Awaitable[Found]]
    todo: str = ""
    needs_network: bool = False


class Diagnosis(NamedTuple):
    """The result of a check. `took_s`: seconds."""

    name: str
    severity: Severity
    what: str
    todo: str
    took_s: float


def ok(what: str) -> Found:
    return Found(Severity.OK, what)


def warning(what: str, todo: str) -> Found:
    return Found(Severity.WARNING, what, todo)


def error(what: str, todo: str) -> Found:
    return Found(Severity.ERROR, what, todo)


def skipped(what: str) -> Found:
    return Found(Severity.SKIPPED, what)


async def carry_out(checks: Sequence[Check], *, offline: bool = False) -> list[Diagnosis]:
    """Make all checks; returns one diagnosis each, in their order. `offline`: skip those that need the network."""
    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(_carry_out(check, offline=offline), name=check.name) for check in checks]
    return [look.result() for look in looks]


def is_well(diagnoses: Sequence[Diagnosis]) -> bool:
    return all(diagnosis.severity is not Severity.ERROR for diagnosis in diagnoses)


async def _carry_out(check: Check, *, offline: bool) -> Diagnosis:
    began = time.monotonic()
    found = skipped("needs the network (--offline)") if offline and check.needs_network else await _look(check)
    return Diagnosis(check.name, *found, round(time.monotonic() - began, 3))


async def _look(check: Check) -> Found:
    try:
        async with asyncio.timeout(check.deadline_s):
            return await check.look()
    except TimeoutError:
        return error(f"no answer within {check.deadline_s:g} s", check.todo)
    except OSError as fault:
        return error(" ".join(str(fault).split())[:300] or type(fault).__name__, check.todo)


async def beside(work: Callable[[], T]) -> T:
    """Run the blocking `work` in a daemon thread, and return or raise what it does. The thread does not keep the
    program from ending, even if it hangs in a name look-up or on a dead disk.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, fault: Exception | None) -> None:
        if answer.done():
            return
        if fault is None:
            answer.set_result(result)  # pyright: ignore[reportArgumentType]  # None where T is
        else:
            answer.set_exception(fault)

    def run() -> None:
        try:
            result, fault = work(), None
        except Exception as raised:  # noqa: BLE001  # handed on to who waits
            result, fault = None, raised
        with suppress(RuntimeError):  # the loop is closed, so nobody waits for the result
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=run, name="look", daemon=True).start()
    return await answer
