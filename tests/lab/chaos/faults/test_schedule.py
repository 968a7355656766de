"""A round on paper: what was written is read again, and what is no round is refused by name and place."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.chaos.faults.injection import Blow, Moment
from lab.chaos.faults.schedule import FORMAT, Schedule, ScheduleError, read, write
from lab.chaos.system import load
from lab.chaos.system.load import Job
from lab.chaos.system.stage import Scale

JOB = {"at_s": 0.5, "tag": "a", "form": "with bot_id", "meeting": "is asked to leave", "leaves_s": 2.0}
KILL = {"at_s": 0.3, "fault": "agent killed", "job": "a", "after": "asked"}
WHOLE: dict[str, Any] = {
    "format": FORMAT,
    "seed": 1,
    "scale": {"managers": 1, "agents": 2, "max_workers": 4, "min_idle": 2},
    "jobs": [JOB],
    "faults": [KILL],
}


def written(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "schedule.json"
    path.write_bytes(msgspec.json.encode(document))
    return path


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    jobs = load.plan(random.Random("1"), 100, 2.0, "1")
    faults = [
        Blow(0.5, "agent killed", target="vm-1"),
        Blow(1.0, "leader frozen", 2.0),
        Blow(0.2, "browser in a meeting killed", job="1.3", after=Moment.LEFT),
        Blow(3.0, "redis frozen", 1.0, target="redis"),
    ]
    schedule = Schedule(FORMAT, 7, Scale(), jobs, faults, "a round")
    assert {job.form for job in jobs} == set(load.FORMS)
    assert read(write(schedule, tmp_path / "schedule.json")) == schedule


def test_what_is_written_by_hand_is_read(tmp_path: Path) -> None:
    schedule = read(written(tmp_path, WHOLE))
    assert schedule.jobs == [Job(0.5, "a", "with bot_id", "is asked to leave", leaves_s=2.0)]
    assert schedule.faults == [Blow(0.3, "agent killed", job="a", after=Moment.ASKED)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 9}, "its format is 9"),
        ({"sede": 1}, "unknown field `sede`"),
        ({"scale": {**WHOLE["scale"], "agents": 0}}, "its scale has no manager, no agent"),
        ({"jobs": [{**JOB, "form": "by post"}]}, "no form 'by post'; .* at `\\$.jobs\\[0\\]`"),
        ({"jobs": [{**JOB, "meeting": "is dull"}]}, "no meeting 'is dull'"),
        ({"jobs": [{**JOB, "form": "bad"}]}, "no meeting 'is asked to leave' for that form"),
        ({"jobs": [{**JOB, "tag": "a&b"}]}, "the tag 'a&b' has to be of letters"),
        ({"jobs": [JOB, JOB]}, "two jobs have the tag 'a'"),
        ({"jobs": [{**JOB, "at_s": "soon"}]}, "Expected `float`, got `str` - at `\\$.jobs\\[0\\].at_s`"),
        ({"faults": [{**KILL, "fault": "earthquake"}]}, "no fault 'earthquake'"),
        ({"faults": [{**KILL, "lasts_s": 3.0}]}, "'agent killed' lasts 0 to 0 s, and not 3"),
        ({"faults": [{**KILL, "job": "b"}]}, "no job 'b'"),
        ({"faults": [{"at_s": 1, "fault": "agent killed", "after": "left"}]}, "`after` needs a `job`"),
        ({"faults": [{"at_s": 1, "fault": "agent killed"}]}, "'agent killed' needs a `target`"),
        ({"faults": [{"at_s": 1, "fault": "manager killed", "job": "a"}]}, "'manager killed' needs a `target`"),
        ({"faults": [{"at_s": 1, "fault": "browser in a meeting killed"}]}, "needs the `job` whose browser"),
        ({"faults": [{"at_s": 1, "fault": "agent killed", "target": "vm-3"}]}, "no target 'vm-3'"),
        ({"faults": [{**KILL, "after": "lunch"}]}, "Invalid enum value 'lunch'"),
    ],
)
def test_what_is_no_round_is_refused_with_the_place(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = written(tmp_path, WHOLE | change)
    with pytest.raises(ScheduleError, match=complaint) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match=r"cannot read .*No such file"):
        read(tmp_path / "none.json")
    (tmp_path / "text").write_text("not a schedule")
    with pytest.raises(ScheduleError, match=r"cannot play .*malformed"):
        read(tmp_path / "text")
