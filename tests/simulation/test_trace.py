"""A recorded trace is what `poolmgr bots --json` prints, in three spellings; what is none is refused line by line."""

import json
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.jobs.job import JobRules, parse_job
from common.wire.messages import Join
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import Accept, Assign, End, Move
from poolmgr.simulation.arrivals import Arrival
from poolmgr.simulation.trace import BadTraceError, Trace, read_trace
from poolmgr.store import record

MEAN_STAY_S = 1800.0
NINE = "2026-11-20T09:00:00Z"
NINE_S = 1_795_165_200.0


def read(text: str) -> Trace:
    return read_trace(text, MEAN_STAY_S, Random(1))


def faults_of(text: str) -> list[str]:
    with pytest.raises(BadTraceError) as caught:
        read(text)
    return caught.value.faults


def lines(*entries: dict[str, Any]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def test_json_lines_an_array_and_csv_say_the_same() -> None:
    entries = [
        {"created_at": NINE, "inmeeting_at": "2026-11-20T09:00:10Z", "stopped_at": "2026-11-20T09:30:10Z"},
        {"created_at": "2026-11-20T09:05:00+00:00", "stay_s": 60},
    ]
    csv = (
        "bot_id,created_at,inmeeting_at,stopped_at,stay_s\n"
        f"a,{NINE},2026-11-20T09:00:10Z,2026-11-20T09:30:10Z,\n"
        "b,2026-11-20T09:05:00Z,,,60\n"
    )
    expected = Trace([Arrival(0.0, 1800.0, 0.0), Arrival(300.0, 60.0, 0.0)], hours=1.0)
    assert read(lines(*entries)) == read(json.dumps(entries)) == read(csv) == expected


def test_a_session_record_is_an_entry_as_it_stands() -> None:
    """By the functions that write it, so that a field cannot be renamed without this noticing."""
    job = parse_job(
        b'{"meeting_link": "http://h/r/a", "join_at": "2026-11-20T09:10:00Z"}', NINE_S, JobRules(frozenset({"h"}))
    )
    fields = record.accepted(Accept("a", job, BotState.SCHEDULED, NINE_S, 1))
    join = Join("vm-1", "a", 1, "room", "http://h/r/a", "Notes")
    fields |= record.assigned(Assign("vm", join, born=0.0, warm=True, waited_s=0.0), NINE_S + 600)
    fields |= record.moved(Move("a", 1, BotState.IN_MEETING, NINE_S + 605))
    fields |= record.ended(End("a", 1, Reason.MEETING_ENDED), NINE_S + 905)
    assert read(lines(fields)) == Trace([Arrival(600.0, 300.0, 600.0)], hours=1.0)


@pytest.mark.parametrize(
    ("entry", "stay_s"),
    [
        ({"assigned_at": NINE_S + 1, "inmeeting_at": NINE_S + 5, "stopped_at": NINE_S + 65}, 60.0),
        ({"assigned_at": NINE_S + 1, "inmeeting_at": "", "stopped_at": NINE_S + 601}, 600.0),  # was never let in
        ({"stay_s": "90", "inmeeting_at": NINE_S + 5, "stopped_at": NINE_S + 65}, 90.0),
    ],
)
def test_how_long_a_bot_held_its_browser_is_taken_from_what_is_known(entry: dict[str, Any], stay_s: float) -> None:
    assert read(lines({"created_at": NINE_S, **entry})).arrivals[0].stay_s == stay_s


@pytest.mark.parametrize("entry", [{}, {"inmeeting_at": NINE_S + 5}, {"stopped_at": NINE_S + 5, "assigned_at": ""}])
def test_a_stay_that_is_not_known_is_drawn(entry: dict[str, Any]) -> None:
    drawn = read(lines(*[{"created_at": NINE_S, **entry}] * 300)).arrivals
    assert len({arrival.stay_s for arrival in drawn}) == 300
    assert 1500 < sum(arrival.stay_s for arrival in drawn) / 300 < 2100


def test_a_join_at_in_the_past_is_now() -> None:
    entry = {"created_at": NINE, "join_at": "2026-11-20T08:00:00Z", "stay_s": 1}
    assert read(lines(entry)).arrivals == [Arrival(0.0, 1.0, 0.0)]


def test_bots_that_were_called_off_or_are_not_due_yet_are_left_out() -> None:
    later = "2026-11-20T15:00:00Z"
    came = {"created_at": NINE, "stay_s": 1}
    waits = {"created_at": NINE, "join_at": later, "state": "scheduled"}
    called_off = {"created_at": NINE, "join_at": later, "assigned_at": "", "stopped_at": "2026-11-20T14:00:00Z"}
    assert read(lines(waits, came, called_off)) == read(lines(came))


@given(st.lists(st.floats(0, 4e9), min_size=1, max_size=20))
def test_jobs_come_in_order_and_before_the_end(created: list[float]) -> None:
    trace = read(lines(*({"created_at": at, "stay_s": 1} for at in created)))
    times = [arrival.at_s for arrival in trace.arrivals]
    assert times == sorted(times)
    assert 0 <= times[0] < 3600
    assert times[-1] < trace.hours * 3600 <= times[-1] + 3600


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["there is no job in it"]),
        ("[]", ["there is no job in it"]),
        ("[1", ["it begins with [ but is no JSON array: "]),
        ("[1]", ["entry 1: is no JSON object: "]),
        ("hello\n", ["line 1: is neither JSON nor a CSV header with a column created_at"]),
        ("created_at\nsoon\n", ["line 2: created_at is neither an ISO 8601 time nor epoch seconds: 'soon'"]),
        ("created_at\nnan\n", ["line 2: created_at is neither "]),
        ('created_at,stay_s\n1,"2', ["line 2: is no CSV: "]),
        (
            '{"created_at": 1}\n{"created_at": \n\n{"stay_s": 1}\n{"created_at": true}\n{"created_at": 1e999}',
            ["line 2: is no JSON object: ", "line 4: created_at is missing", "line 5: created_at is ", "line 6: "],
        ),
        ('{"created_at": 1, "stay_s": -1}', ["line 1: stay_s is no number of seconds: -1"]),
        ('{"created_at": 1, "inmeeting_at": 5, "stopped_at": 4}', ["line 1: stopped_at is before "]),
    ],
)
def test_what_is_no_trace_is_refused_with_every_line_at_fault(text: str, faults: list[str]) -> None:
    found = faults_of(text)
    assert len(found) == len(faults)
    for fault, expected in zip(found, faults, strict=True):
        assert fault.startswith(expected)


@given(st.text() | st.text(alphabet='{}[]":,\n1a created_at') | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_trace_or_a_readable_refusal(text: str) -> None:
    with suppress(BadTraceError):
        assert read(text).arrivals
