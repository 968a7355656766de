"""A record is the same after it was a hash, says only what differs, and reads what another release wrote."""

import pytest

from common.jobs.record import BLANK, Job, Record, iso
from common.wire.messages import AutomaticLeave, BotNames
from common.wire.vocabulary import OnWorkerLost

JOB = Job(
    bot_id="b",
    meeting_url="https://meet.example/a",
    platform="room",
    bot_name="Notes",
    join_at=1_800_000_000.25,
    priority=-3,
    automatic_leave=AutomaticLeave(waiting_room_timeout=5, bot_names=BotNames(["bot"])),
    on_worker_lost=OnWorkerLost.REJOIN,
    custom_attributes='{"a":1}',
    warnings=("w",),
    queue_timeout_s=0.0,
    join_late_limit_s=90.5,
    is_probe=True,
    payload="{}",
)
BEGUN = {"bot_id": "b", "state": "queued", "status": "Joining", "created_at": "2027-01-15T08:00:00.000000Z"}


def whole(**fields: str) -> Record:
    said = {name: str(value) for name, value in JOB.to_hash().items()}
    return Record.from_hash({**said, **BEGUN, **fields})


def test_a_job_is_the_same_after_it_was_a_hash() -> None:
    assert whole().job == JOB


def test_a_record_is_the_same_after_it_was_a_hash() -> None:
    record = whole(attempt="2", claimed="2", audio_level="0.25", leave_requested="1", evidence="b-1")
    assert Record.from_hash({name: str(value) for name, value in record.to_hash().items()}) == record
    assert Record.from_hash(record.texts()) == record


def test_the_hash_holds_what_differs_as_other_programs_read_it() -> None:
    said = JOB.to_hash()
    assert not [name for name, value in said.items() if BLANK.get(name) == value]
    assert (said["join_at"], said["probe"], said["queue_timeout"]) == (iso(1_800_000_000.25), 1, "0")
    assert (said["join_late_limit"], said["on_worker_lost"], said["warnings"]) == ("90.5", "rejoin", '["w"]')
    assert said["automatic_leave"] == '{"waiting_room_timeout":5,"bot_names":{"matches":["bot"]}}'
    assert whole(leave_requested="0").to_hash().keys() == said.keys() | BEGUN.keys()


def test_what_agents_add_is_shown_once_it_is_there() -> None:
    assert not whole().texts().keys() & {"claimed", "claimed_at", "screen", "rule"}
    assert whole(screen="name_prompt").texts()["screen"] == "name_prompt"
    assert whole().texts().keys() >= BLANK.keys()


@pytest.mark.parametrize(
    "fault", [{"attempt": "x"}, {"on_worker_lost": "pray"}, {"warnings": "["}, {"join_at": "soon"}]
)
def test_a_field_that_cannot_be_read_says_nothing_unless_all_of_them_count(fault: dict[str, str]) -> None:
    [name] = fault
    assert Record.from_hash(fault).texts()[name] == str(BLANK[name])
    with pytest.raises(ValueError, match=r".+"):
        Record.from_hash(fault, strict=True)


def test_what_is_no_field_of_this_release_is_left_out() -> None:
    assert Record.from_hash({"of_tomorrow": "x", "attempt": ""}, strict=True) == Record.from_hash({})


@pytest.mark.parametrize(
    ("transcript", "manifest", "there"),
    [
        ("processed", "completed", True),
        ("processed", "", True),
        ("processed", "expired", False),
        ("processing", "completed", False),
    ],
)
def test_a_transcript_is_there_until_the_time_of_its_recording_is_over(
    transcript: str, manifest: str, there: bool
) -> None:
    kept = Record.from_hash({"transcript_status": transcript, "manifest_status": manifest})
    assert kept.has_transcript is there


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"status": "InMeeting", "attempt": "2"}, "InMeeting"),
        ({"status": "InMeeting", "attempt": "2", "manifest_status": "recording", "recorded_attempt": "2"}, "Recording"),
        ({"status": "InMeeting", "attempt": "2", "manifest_status": "recording", "recorded_attempt": "1"}, "InMeeting"),
        ({"status": "Stopped", "state": "stopped"}, "Stopped"),
        ({"status": "Stopped", "state": "stopped", "done_at": "2027-01-15T08:00:00.000000Z"}, "Done"),
        ({"status": "Denied", "state": "stopped", "done_at": "2027-01-15T08:00:00.000000Z"}, "Denied"),
    ],
)
def test_what_clients_are_shown_says_that_it_is_recorded_or_that_all_is_done(
    fields: dict[str, str], shown: str
) -> None:
    assert whole(**fields).shown_status == shown
