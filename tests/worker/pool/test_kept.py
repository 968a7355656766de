"""Evidence of bots in a real pool: of an end that nobody wished for, and of a fault of ours."""

import io
import json
import zipfile
from typing import Any

import pytest

from common.wire.messages import BotEnded, BotMoved
from common.wire.vocabulary import BotState, Reason
from tests.waiting import wait_until
from tests.worker.conftest import Harness
from worker.meeting import evidence
from worker.meeting.reports import Reporter

pytestmark = pytest.mark.asyncio(loop_scope="session")


def file_of(harness: Harness, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(harness.bundles["b1-1"])) as bundle:
        return bundle.read(name).decode()


@pytest.mark.long
async def test_a_shutdown_in_mid_meeting_is_kept_and_named_in_the_end(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "PART_S", 30.0)  # a page of a busy machine does not give all in time
    await harness.warm()
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(move.state is BotState.IN_MEETING for move in harness.seen(BotMoved)))
    harness.pool.leave("w1", "b1", 1, Reason.SHUTDOWN)
    await harness.gone()
    assert [(end.reason, end.evidence) for end in harness.seen(BotEnded)] == [(Reason.SHUTDOWN, "b1-1")]
    screens = [entry.get("screen") for entry in json.loads(file_of(harness, "history.json"))]
    assert "in_meeting" in screens
    assert json.loads(file_of(harness, "about.json"))["missing"] == {}


async def test_a_fault_of_ours_is_kept_with_its_traceback(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    await light_harness.warm()
    monkeypatch.setattr(Reporter, "news", fail)
    light_harness.pool.begin(light_harness.join())
    await light_harness.gone()
    assert [(end.reason, end.evidence) for end in light_harness.seen(BotEnded)] == [(Reason.INTERNAL_ERROR, "b1-1")]
    assert "a fault of ours" in file_of(light_harness, "traceback.txt")
    assert json.loads(file_of(light_harness, "about.json"))["reason"] == "internal_error"
