"""A round written down, which `./dev chaos --replay FILE` plays again: the jobs and what happens in their meetings, the
requests to leave, the faults with times, lengths and targets, and the size of the stage. docs/chaos.md describes the
format.

A schedule stays the same when the suite gets new faults; a seed would then draw another round.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from lab.chaos.faults.catalogue import BY_NAME, Aim
from lab.chaos.faults.injection import Blow
from lab.chaos.system.load import BAD, FORMS, MEETINGS, Job
from lab.chaos.system.stage import Scale

FORMAT: Final = 1
_NEEDS_A_NAME: Final = (Aim.MANAGER, Aim.AGENT, Aim.DRIVER, Aim.IDLE_BROWSER)


class ScheduleError(Exception):
    """The file is no schedule; the message names the file and its fault."""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`format`: FORMAT. `about`: a text for people. `seed`: chooses how long a part that died stays down."""

    format: int
    seed: int
    scale: Scale
    jobs: Sequence[Job]
    faults: Sequence[Blow]
    about: str = ""


def write(schedule: Schedule, path: Path) -> Path:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(schedule), indent=2) + b"\n")
    return path


def read(path: Path) -> Schedule:
    """Read a schedule. Raises: ScheduleError."""
    try:
        schedule = msgspec.json.decode(path.read_bytes(), type=Schedule)
    except OSError as error:
        raise ScheduleError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ScheduleError(f"cannot play {path}: {error}") from error
    if wrong := next(_faults_of(schedule), ""):
        raise ScheduleError(f"cannot play {path}: {wrong}")
    return schedule


def _faults_of(schedule: Schedule) -> Iterator[str]:
    """Faults of the file that its types do not show."""
    if schedule.format != FORMAT:
        yield f"its format is {schedule.format}, and this program knows {FORMAT}"
    scale = schedule.scale
    if min(scale.managers, scale.agents, scale.min_idle) < 1 or scale.max_workers < scale.min_idle:
        yield "its scale has no manager, no agent, or more idle workers than workers"
    tags = [job.tag for job in schedule.jobs]
    for number, job in enumerate(schedule.jobs):
        if wrong := _wrong_job(job, tags):
            yield f"{wrong} - at `$.jobs[{number}]`"
    for number, blow in enumerate(schedule.faults):
        if wrong := _wrong_blow(blow, tags, scale):
            yield f"{wrong} - at `$.faults[{number}]`"


def _wrong_job(job: Job, tags: list[str]) -> str:
    meetings = BAD if job.form == "bad" else MEETINGS
    if job.form not in FORMS:
        return f"there is no form {job.form!r}; there are {', '.join(FORMS)}"
    if job.meeting not in meetings:
        return f"there is no meeting {job.meeting!r} for that form; there are {', '.join(meetings)}"
    if not job.tag.replace(".", "").replace("-", "").isalnum():
        return f"the tag {job.tag!r} has to be of letters, digits, dots and dashes"
    return f"two jobs have the tag {job.tag!r}" if tags.count(job.tag) > 1 else ""


def _wrong_blow(blow: Blow, tags: list[str], scale: Scale) -> str:
    fault = BY_NAME.get(blow.fault)
    if fault is None:
        return f"there is no fault {blow.fault!r}; `./dev chaos --only list` names them"
    least, most = fault.lasts_s
    if not least <= blow.lasts_s <= most:
        return f"{fault.name!r} lasts {least:g} to {most:g} s, and not {blow.lasts_s:g}"
    if blow.job and blow.job not in tags:
        return f"there is no job {blow.job!r}"
    if blow.after and not blow.job:
        return "`after` needs a `job` whose moment it is"
    if fault.aim is Aim.MEETING_BROWSER and not blow.job:
        return f"{fault.name!r} needs the `job` whose browser it is about"
    if fault.aim in _NEEDS_A_NAME and not blow.target and (not blow.job or fault.aim is Aim.MANAGER):
        return f"{fault.name!r} needs a `target`"
    allowed = _names(fault.aim, scale)
    return f"{fault.name!r} has no target {blow.target!r}" if blow.target and blow.target not in allowed else ""


def _names(aim: Aim, scale: Scale) -> list[str]:
    match aim:
        case Aim.MANAGER:
            return [f"manager-{number + 1}" for number in range(scale.managers)]
        case Aim.AGENT | Aim.DRIVER | Aim.IDLE_BROWSER:
            return [f"vm-{number + 1}" for number in range(scale.agents)]
        case Aim.REDIS:
            return ["redis"]
        case Aim.LEADER | Aim.PRIMARY | Aim.MEETING_BROWSER:
            return []
