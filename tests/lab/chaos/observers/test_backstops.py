"""What logs say of backstops: every step of each, once, and nothing else."""

import json
from pathlib import Path

import pytest

from lab.chaos.observers.backstops import Backstop, Backstops

FORCED = {"event": "bot_overdue", "bot_id": "b1", "attempt": 1, "step": "forced", "level": "warning"}
HUNG = {"event": "bot_overdue", "bot_id": "b1", "detail": "it did nothing for 150 s", "level": "error"}
WORKER = {"event": "worker_overdue", "vm_id": "vm-1", "worker_id": "w1", "reason": "retire_overdue"}
AGAIN = {"event": "worker_retired", "worker_id": "w1", "reason": "retire_overdue"}


@pytest.mark.parametrize(
    ("line", "bot_id", "sentence"),
    [
        (FORCED, "b1", "a backstop had to act for bot b1: forced"),
        (HUNG, "b1", "a backstop had to act for bot b1: it did nothing for 150 s"),
        (WORKER, "", "worker w1 had to be ended by force"),
        (AGAIN, "", "worker w1 did not go when it was ordered to"),
    ],
    ids=["the manager's", "the agent's", "a worker by force", "a worker again"],
)
def test_each_backstop_is_heard_of(tmp_path: Path, line: dict[str, str], bot_id: str, sentence: str) -> None:
    log = tmp_path / "vm-1.log"
    log.write_text(json.dumps(line) + "\n")
    backstops = Backstops()
    for _ in range(2):
        backstops.look(log)
        assert backstops.found == [Backstop("vm-1", bot_id, sentence)]


def test_what_is_no_backstop_is_passed_over_and_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    log, whole = tmp_path / "vm-1.log", json.dumps(FORCED)
    other = [
        json.dumps({"event": "bot_queued", "reason": "claim_overdue"}),
        "Traceback: overdue",
        json.dumps(AGAIN)[:9],
    ]
    log.write_text("\n".join([*other, whole[:30]]))
    backstops = Backstops()
    backstops.look(log)
    assert backstops.found == []
    log.write_text("\n".join([*other, whole, ""]))
    backstops.look(log)
    assert [finding.bot_id for finding in backstops.found] == ["b1"]
