"""Reading jobs: the other loops get their turn meanwhile, and large ones are read beside the loop."""

import asyncio
import json
import threading
import time
from typing import Any, cast

import pytest

from common.jobs.job import JobRules, parse_job
from common.jobs.record import Job
from common.runtime.clock import Clock
from poolmgr.loops import intake
from poolmgr.loops.intake import Intake

LINK = "https://meet.google.com/abc-defg-hij"


@pytest.fixture
def reading() -> Intake:
    nobody = cast(Any, None)
    return Intake(nobody, nobody, nobody, Clock(), JobRules(), print)


async def test_a_batch_of_laborious_jobs_lets_others_have_their_turn(
    reading: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, longest, since = 0, 0.0, time.thread_time()

    async def somebody_else() -> None:
        nonlocal turns, longest, since
        while True:
            longest = max(longest, time.thread_time() - since)
            since = time.thread_time()
            turns += 1
            await asyncio.sleep(0)

    def laborious(payload: bytes, now: float, rules: JobRules) -> Job:
        until = time.thread_time() + 0.003
        while time.thread_time() < until:
            pass
        return parse_job(payload, now, rules)

    monkeypatch.setattr(intake, "parse_job", laborious)
    payload = json.dumps({"meeting_link": LINK}).encode()
    async with asyncio.TaskGroup() as group:
        other = group.create_task(somebody_else(), name="other")
        jobs, rejected = await reading._read([payload] * 50, 0.0)  # pyright: ignore[reportPrivateUsage]
        other.cancel()
    assert (len(jobs), rejected) == (50, [])
    assert turns >= 25
    assert longest < 0.02, "of processor time"


async def test_large_jobs_are_read_beside_the_loop_and_stay_in_order(
    reading: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = list[int]()

    def seen(payload: bytes, now: float, rules: JobRules) -> Job:
        by.append(threading.get_ident())
        return parse_job(payload, now, rules)

    monkeypatch.setattr(intake, "parse_job", seen)
    large = json.dumps({"meeting_link": LINK, "bot_id": "large", "filler": "x" * 20_000}).encode()
    small = json.dumps({"meeting_link": LINK, "bot_id": "small"}).encode()
    jobs, rejected = await reading._read([large, small, b"{", large], 0.0)  # pyright: ignore[reportPrivateUsage]
    assert [job.bot_id for job in jobs] == ["large", "small", "large"]
    assert [job.reason for job in rejected] == ["not_json"]
    assert [thread == threading.get_ident() for thread in by] == [False, True, True, False]
