"""Checks are carried out side by side, each to its own deadline."""

import asyncio
import threading

import pytest

from common.runtime.doctor import checks
from common.runtime.doctor.checks import Check, Found, Severity, beside, carry_out, error, is_well, ok, warning
from tests.waiting import wait_until


def check(name: str, answer: Found | Exception, *, deadline_s: float = 60.0, network: bool = False) -> Check:
    async def look() -> Found:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Check(name, deadline_s, look, "mend it", network)


async def test_each_has_its_diagnosis_in_their_order_and_only_an_error_is_not_well() -> None:
    found = await carry_out([check("a", ok("good")), check("b", warning("slow", "hurry"))])
    assert [diagnosis[:4] for diagnosis in found] == [("a", "ok", "good", ""), ("b", "warning", "slow", "hurry")]
    assert is_well(found)
    assert not is_well(await carry_out([check("a", ok("good")), check("b", error("bad", "mend"))]))


async def test_they_run_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def look() -> Found:
        await both.wait()
        return ok("met")

    found = await carry_out([Check("a", 60.0, look), Check("b", 60.0, look)])
    assert [diagnosis.what for diagnosis in found] == ["met", "met"]


async def test_one_that_does_not_answer_is_an_error_at_its_own_deadline() -> None:
    async def look() -> Found:
        await asyncio.Event().wait()
        raise AssertionError("never")

    hanging, other = await carry_out([Check("hangs", 0.01, look, "wake it"), check("other", ok("good"))])
    assert hanging[:4] == ("hangs", Severity.ERROR, "no answer within 0.01 s", "wake it")
    assert other.severity is Severity.OK


async def test_what_the_system_refuses_is_an_error_with_its_words() -> None:
    [found] = await carry_out([check("a", ConnectionRefusedError(111, "Connection refused"))])
    assert found[:4] == ("a", "error", "[Errno 111] Connection refused", "mend it")


async def test_a_fault_of_ours_is_none_of_the_machine() -> None:
    with pytest.raises(ExceptionGroup):
        await carry_out([check("a", KeyError("x"))])


async def test_offline_what_needs_the_network_is_skipped_and_the_rest_is_not() -> None:
    found = await carry_out([check("a", error("bad", "x"), network=True), check("b", ok("good"))], offline=True)
    assert [diagnosis.severity for diagnosis in found] == ["skipped", "ok"]
    assert is_well(found)


async def test_what_blocks_keeps_nobody_from_ending() -> None:
    over = threading.Event()

    async def look() -> Found:
        return await beside(lambda: (over.wait() and ok("late")) or ok("late"))

    [found] = await carry_out([Check("blocks", 0.01, look)])
    assert found.what == "no answer within 0.01 s"
    [thread] = [thread for thread in threading.enumerate() if thread.name == "look"]
    assert thread.daemon
    over.set()
    await wait_until(lambda: not thread.is_alive())


async def test_what_fails_in_its_thread_fails_here() -> None:
    def fail() -> Found:
        raise FileNotFoundError("no such file")

    with pytest.raises(FileNotFoundError):
        await beside(fail)
    assert checks.skipped("x").severity is Severity.SKIPPED
