"""Evidence of bots in a real pool: of an end that nobody wished for, of a fault of ours, and of nothing else."""

import io
import json
import zipfile
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.worker.conftest import Harness
from wire.messages import BotEnded, BotMoved, Join
from wire.settings import EvidenceSettings
from wire.vocabulary import BotState, Reason
from worker.evidence import Witness
from worker.platforms import Adapter
from worker.reports import Reporter


class Kept:
    """The bundles of the bots of a pool, by name."""

    def __init__(self, harness: Harness) -> None:
        self.bundles: dict[str, bytes] = {}
        harness.pool._serving._witnesses = self._witness  # pyright: ignore[reportPrivateUsage]

    def _witness(self, join: Join, adapter: Adapter, resumed: bool) -> Witness:
        return Witness(join, EvidenceSettings(), self._put, rules=lambda: adapter.rules, resumed=resumed)

    def _put(self, name: str, data: bytes) -> bool:
        self.bundles[name] = data
        return True

    def file(self, name: str) -> str:
        with zipfile.ZipFile(io.BytesIO(self.bundles["b1-1"])) as bundle:
            return bundle.read(name).decode()


@pytest.fixture
async def kept(harness: Harness) -> Kept:
    kept = Kept(harness)
    await harness.warm()
    return kept


async def in_meeting(harness: Harness) -> None:
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(move.state is BotState.IN_MEETING for move in harness.seen(BotMoved)))


async def test_a_shutdown_in_mid_meeting_is_kept_and_named_in_the_end(harness: Harness, kept: Kept) -> None:
    await in_meeting(harness)
    harness.pool.leave("w1", "b1", 1, Reason.SHUTDOWN)
    await harness.gone()
    assert [(end.reason, end.evidence) for end in harness.seen(BotEnded)] == [(Reason.SHUTDOWN, "b1-1")]
    screens = [entry.get("screen") for entry in json.loads(kept.file("history.json"))]
    assert "in_meeting" in screens
    assert json.loads(kept.file("about.json"))["missing"] == {}


async def test_of_an_end_that_was_asked_for_nothing_is_kept(harness: Harness, kept: Kept) -> None:
    await in_meeting(harness)
    harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await harness.gone()
    assert [end.evidence for end in harness.seen(BotEnded)] == [""]
    assert kept.bundles == {}


async def test_a_fault_of_ours_is_kept_with_its_traceback(
    harness: Harness, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Reporter, "news", fail)
    harness.pool.begin(harness.join())
    await harness.gone()
    assert [(end.reason, end.evidence) for end in harness.seen(BotEnded)] == [(Reason.INTERNAL_ERROR, "b1-1")]
    assert "a fault of ours" in kept.file("traceback.txt")
    assert json.loads(kept.file("about.json"))["reason"] == "internal_error"
