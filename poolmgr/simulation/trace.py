"""Reads a recorded trace: the output of `poolmgr bots --json`, the same as JSON lines, or CSV with a header.

Fields are those of the session record: `created_at`, `join_at`, `assigned_at`, `inmeeting_at`, `stopped_at`, as ISO
8601 or epoch seconds; or `stay_s` in place of the last three. Only `created_at` is required. Other fields are ignored.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from common.errors import ManagerError
from poolmgr.simulation.arrivals import Arrival, draw_stay

_HOUR_S: Final = 3600.0


class BadTraceError(ManagerError, ValueError):
    """The text is no trace. `faults`: one sentence each, beginning with the line or entry."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Trace(NamedTuple):
    """`arrivals`: in order, with times from the full hour before the first. `hours`: until the full hour after
    the last.
    """

    arrivals: list[Arrival]
    hours: float


class _Job(NamedTuple):
    due: float
    created: float
    stay_s: float | None


def read_trace(text: str, mean_stay_s: float, random: Random) -> Trace:
    """The jobs of a recorded trace. If it does not say how long a bot stayed, that is drawn around `mean_stay_s`.

    Raises: BadTraceError with all faults.
    """
    jobs: list[_Job] = []
    faults: list[str] = []
    for where, fields in _entries(text, faults):
        try:
            if job := _job(fields):
                jobs.append(job)
        except ValueError as fault:
            faults.append(f"{where}: {fault}")
    if not jobs and not faults:
        faults.append("there is no job in it")
    if faults:
        raise BadTraceError(faults)
    jobs.sort()
    begin = jobs[0].due // _HOUR_S * _HOUR_S
    arrivals = [
        Arrival(
            job.due - begin,
            draw_stay(mean_stay_s, random) if job.stay_s is None else job.stay_s,
            job.due - job.created,
        )
        for job in jobs
    ]
    return Trace(arrivals, arrivals[-1].at_s // _HOUR_S + 1)


def _entries(text: str, faults: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every entry with its place in words. An invalid entry becomes a fault."""
    kind = text.lstrip()[:1]
    if kind == "[":
        yield from _of_array(text, faults)
    elif kind == "{":
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield from _of_json(f"line {number}", line, faults)
    elif kind:
        yield from _of_csv(text, faults)


def _of_array(text: str, faults: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        entries = msgspec.json.decode(text, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        faults.append(f"it begins with [ but is no JSON array: {error}")
        return
    for number, entry in enumerate(entries, 1):
        yield from _of_json(f"entry {number}", bytes(entry), faults)


def _of_json(where: str, entry: str | bytes, faults: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        yield where, msgspec.json.decode(entry, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError) as error:
        faults.append(f"{where}: is no JSON object: {error}")


def _of_csv(text: str, faults: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        if "created_at" not in (reader.fieldnames or ()):
            faults.append("line 1: is neither JSON nor a CSV header with a column created_at")
            return
        for row in reader:
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        faults.append(f"line {reader.reader.line_num}: is no CSV: {error}")


def _job(fields: Mapping[str, Any]) -> _Job | None:
    """The job of an entry. None for a bot that was cancelled before it was due, or is not due yet: it needed no
    browser.

    Raises: ValueError, which says which field is wrong.
    """
    created = _time(fields, "created_at")
    if created is None:
        raise ValueError("created_at is missing")
    due = max(created, _time(fields, "join_at") or created)
    stopped, assigned = _time(fields, "stopped_at"), _time(fields, "assigned_at")
    if fields.get("state") == "scheduled" or (assigned is None and stopped is not None and stopped < due):
        return None
    return _Job(due, created, _stay_s(fields))


def _stay_s(fields: Mapping[str, Any]) -> float | None:
    given = fields.get("stay_s")
    if given is not None and given != "":
        stay_s = _number(given)
        if stay_s is None or stay_s < 0:
            raise ValueError(f"stay_s is no number of seconds: {given!r}")
        return stay_s
    # A bot that was never let in also had its browser from its assignment on.
    began = _time(fields, "inmeeting_at") or _time(fields, "assigned_at")
    stopped = _time(fields, "stopped_at")
    if began is None or stopped is None:
        return None
    if stopped < began:
        raise ValueError("stopped_at is before the bot was in the meeting")
    return stopped - began


def _time(fields: Mapping[str, Any], name: str) -> float | None:
    """A field's time in epoch seconds; None if it is missing or empty. Raises: ValueError."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    at = _number(value)
    if at is None and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            at = None
    if at is None:
        raise ValueError(f"{name} is neither an ISO 8601 time nor epoch seconds: {value!r}")
    return at


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
