"""What a callback_url is told of each status change, and that it is told the same whenever it is made."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from meetstream import describe_stop

from common.jobs.outgoing import Delivery
from common.jobs.record import Record
from common.webhooks.envelope import UNSAID, deletion, done_by_deletion, render, untranscribed_by_deletion
from common.wire.vocabulary import Attribution, BotState, Reason, Status, outward_status

AT = "2027-01-15T08:00:00.123456Z"
LINK = "https://meet.google.com/abc-defg-hij?pwd=secret"
RECORD = {
    "bot_id": "b",
    "callback_url": "https://hooks.example/x",
    "custom_attributes": '{"tenant":"ä","n":1.10,"big":123456789012345678901234567890}',
    "user_id": "u",
    "calendar_event_id": "c",
    "reason_detail": "",
    "attribution": "",
    "meeting_url": LINK,
    "payload": "{}",
}


def change(state: str, reason: str = "", attempt: int = 1) -> dict[str, str]:
    status = outward_status(BotState(state), Reason(reason) if reason else None)
    facts = {"bot_id": "b", "state": state, "status": status, "reason": reason, "attempt": str(attempt)}
    return {**facts, "vm_id": "v", "worker_id": "w", "at": AT, "done": ""}


def made_of(entry_id: str, change: Mapping[str, str], record: Mapping[str, str]) -> list[Delivery]:
    return render(entry_id, change, Record.from_hash(record))


def bodies(found: list[Delivery]) -> list[dict[str, Any]]:
    return [json.loads(delivery.body) for delivery in found]


@pytest.mark.parametrize(
    ("state", "event", "status"),
    [
        ("scheduled", "bot.scheduled", "Scheduled"),
        ("joining", "bot.joining", "Joining"),
        ("waiting_room", "bot.in_waiting_room", "InWaitingRoom"),
        ("in_meeting", "bot.inmeeting", "InMeeting"),
        ("leaving", "bot.leaving", "Leaving"),
    ],
)
def test_each_state_on_the_way_has_its_event(state: str, event: str, status: str) -> None:
    (made,) = made_of("1-0", change(state), RECORD)
    (body,) = bodies([made])
    assert (made.event, made.bot_id, made.url, made.id) == (event, "b", RECORD["callback_url"], body["id"])
    assert made.at == pytest.approx(1800000000.123456)
    assert (body["event"], body["bot_event"], body["bot_status"], body["status_code"]) == (event, event, status, 200)
    assert body["timestamp"] == AT
    assert body["message"]
    assert '"custom_attributes":' + RECORD["custom_attributes"] in made.body, "not a digit of them is changed"


@pytest.mark.parametrize("state", ["queued", "assigned"])
def test_nothing_is_said_of_what_clients_do_not_know(state: str) -> None:
    assert made_of("1-0", change(state), RECORD) == []


def test_joining_is_said_three_times_at_most() -> None:
    assert [len(made_of("1-0", change("joining", attempt=number), RECORD)) for number in (1, 2, 3, 4)] == [1, 1, 1, 0]


@pytest.mark.parametrize("platform", ["google_meet", "zoom"])
@pytest.mark.parametrize("reason", [Reason.CAPTCHA, Reason.REQUEST_DENIED, Reason.EVERYONE_LEFT])
def test_why_a_bot_failed_in_google_meet_stands_where_clients_look_for_it(reason: Reason, platform: str) -> None:
    stopped, *others = bodies(made_of("1-0", change("stopped", reason), {**RECORD, "platform": platform}))
    failed = reason is Reason.CAPTCHA and platform == "google_meet"
    assert stopped.get("failure_reason") == ("captcha" if failed else None)
    assert not any("failure_reason" in other for other in others)


@pytest.mark.parametrize("reason", Reason)
def test_every_end_is_one_stop_then_what_was_not_recorded_then_done(reason: Reason) -> None:
    ended = {**change("stopped", reason), "done": "1"}
    made = bodies(made_of("1-0", ended, {**RECORD, "attribution": reason.end.attribution}))
    assert [body["event"] for body in made] == [
        "bot.stopped", "manifest.skipped", "audio.skipped", "transcription.skipped", "bot.done",
    ]  # fmt: skip
    stop, *artefacts, done = made
    end = reason.end
    clean = end.bot_event in ("bot.stopped", "bot.kicked")
    assert (stop["bot_event"], stop["bot_status"]) == (end.bot_event, end.status)
    assert stop["status_code"] == done["status_code"] == (200 if clean else 500)
    assert done["bot_status"] == "Done"
    assert (stop["reason"], stop["attribution"]) == (reason, end.attribution)
    fields = ("manifest_status", "audio_status", "transcript_status")
    assert [body[field] for body, field in zip(artefacts, fields, strict=True)] == ["skipped"] * 3
    assert [body["status"] for body in artefacts] == ["success"] * 3
    assert {body["status_code"] for body in artefacts} == {200}
    assert len({body["id"] for body in made}) == len(made)
    assert "with status" not in describe_stop(stop)


ALL_OF_SOUND: Final = ["manifest.completed", "audio.processed", "transcription.skipped"]
ALL_OF_BOTH: Final = [*ALL_OF_SOUND, "video.processed"]


def recorded(what: str, state: str, audio: str, video: str, before: str = "recording") -> dict[str, str]:
    reason = "" if state == "in_meeting" else "everyone_left"
    return {**change(state, reason), "recorded": what, "audio": audio, "video": video, "before": before}


@pytest.mark.parametrize(
    ("entry", "events"),
    [
        (recorded("recording", "in_meeting", "recording", "", ""), ["bot.recording"]),
        (recorded("completed", "stopped", "processed", ""), ALL_OF_SOUND),
        (recorded("completed", "stopped", "processed", "processed"), ALL_OF_BOTH),
        (
            recorded("completed", "stopped", "skipped", "skipped"),
            ["manifest.completed", "audio.skipped", "transcription.skipped", "video.skipped"],
        ),
        (
            recorded("completed", "stopped", "", "processed"),
            ["manifest.completed", "audio.skipped", "transcription.skipped", "video.processed"],
        ),
        (recorded("completed", "stopped", "processed", "", "skipped"), ["manifest.completed", "audio.processed"]),
        (recorded("completed", "leaving", "processed", ""), ["manifest.completed", "audio.processed"]),
    ],
)
def test_a_recording_is_told_of_when_it_begins_and_when_its_files_are_made(
    entry: dict[str, str], events: list[str]
) -> None:
    made = bodies(made_of("1-0", entry, RECORD))
    assert [body["event"] for body in made] == events
    assert {body["status_code"] for body in made} == {200}
    for body in made:
        kind, _, became = body["event"].partition(".")
        if kind in ("audio", "video", "manifest"):
            assert body[f"{kind}_status"] == became
        if kind != "bot":
            assert body["status"] == "success"


@pytest.mark.parametrize(("permission", "code"), [("denied", 500), ("allowed", 200)])
def test_a_meeting_that_permits_no_recording_or_permits_it_again_is_told_of(permission: str, code: int) -> None:
    [body] = bodies(made_of("1-0", {**change("in_meeting"), "permission": permission}, RECORD))
    assert body["event"] == body["bot_event"] == f"bot.recording_permission_{permission}"
    assert (body["bot_status"], body["status_code"]) == (change("in_meeting")["status"], code)


@pytest.mark.parametrize(
    ("what", "reason", "code"),
    [
        ({"manifest": "completed"}, Reason.EVERYONE_LEFT, 200),
        (
            {"recorded": "completed", "audio": "processed", "video": "", "before": "recording"},
            Reason.EVERYONE_LEFT,
            200,
        ),
        (recorded("skipped", "stopped", "skipped", ""), Reason.BROWSER_CRASHED, 500),
        ({"transcribed": "processed"}, Reason.EVERYONE_LEFT, 200),
        ({"transcribed": "failed", "why": "busy (429)", "number": "1"}, Reason.REMOVED_BY_HOST, 200),
    ],
)
def test_all_is_done_with_whatever_was_the_last_that_was_waited_for(
    what: dict[str, str], reason: Reason, code: int
) -> None:
    entry = {**what, **change("stopped", reason)}
    before = bodies(made_of("1-0", {**entry, "done": ""}, RECORD))
    *others, done = bodies(made_of("1-0", {**entry, "done": "1"}, RECORD))
    assert others == before
    assert (done["event"], done["bot_status"], done["status_code"]) == ("bot.done", "Done", code)
    assert "bot.done" not in [body["event"] for body in before]


@pytest.mark.parametrize(
    ("what", "is_done"),
    [
        ({}, True),
        ({"manifest": "completed"}, True),
        ({"manifest": "recording"}, False),
        ({"recorded": "recording", "audio": "", "video": "", "before": ""}, False),
        ({"recorded": "completed", "audio": "processed", "video": "", "before": "recording"}, True),
        ({"recorded": "skipped", "audio": "skipped", "video": "", "before": "recording"}, True),
        ({"recorded": "completed", "audio": "processed", "video": "", "before": "skipped"}, False),
        ({"transcribed": "processed"}, False),
        ({"permission": "denied"}, False),
    ],
)
@pytest.mark.parametrize("done", [{}, {"done": UNSAID}], ids=["written by it", "of a bot that it ended"])
def test_bot_done_is_told_as_the_release_before_told_it_where_that_ended_the_bot(
    what: dict[str, str], done: dict[str, str], *, is_done: bool
) -> None:
    entry = change("stopped", "everyone_left")
    entry.pop("done")
    events = [body["event"] for body in bodies(made_of("1-0", {**entry, **what, **done}, RECORD))]
    assert events[-1:] == ["bot.done"] if is_done else "bot.done" not in events


def test_of_a_recorded_meeting_the_end_leaves_to_the_recording_what_is_said_after_it() -> None:
    ended = change("stopped", "everyone_left")
    assert [body["event"] for body in bodies(made_of("1-0", {**ended, "manifest": "recording"}, RECORD))] == [
        "bot.stopped"
    ]
    told_before = bodies(made_of("1-0", {**ended, "manifest": "completed"}, RECORD))
    assert [body["event"] for body in told_before] == ["bot.stopped", "transcription.skipped"]


@pytest.mark.parametrize(
    ("transcribed", "events"),
    [("processing", []), ("processed", ["transcription.processed"]), ("skipped", ["transcription.skipped"])],
)
def test_a_transcript_is_told_of_once_it_is_there(transcribed: str, events: list[str]) -> None:
    made = bodies(made_of("1-0", {**change("stopped", "everyone_left"), "transcribed": transcribed}, RECORD))
    assert [body["event"] for body in made] == events
    assert [body["transcript_status"] for body in made] == [transcribed] * len(events)


def test_a_transcript_of_a_recording_is_told_of_by_its_name_to_whom_it_was_asked_for() -> None:
    of_recording = {**change("stopped", "everyone_left"), "transcribed": "failed", "why": "busy (429)", "number": "2"}
    [sent] = made_of("1-0", {**of_recording, "callback": "https://else.example/"}, RECORD)
    assert (sent.url, sent.line) == ("https://else.example/", "b~2"), "in a queue of its own"
    [of_bot] = made_of("1-0", {**of_recording, "callback": ""}, RECORD)
    assert (of_bot.url, of_bot.line) == (RECORD["callback_url"], "b")
    [body] = bodies([sent])
    assert (body["event"], body["transcript_id"]) == ("transcription.failed", f"tr-{body['bot_id']}~2")
    assert (body["status_code"], body["status"], body["transcript_status"]) == (500, "error", "failed")
    assert "busy (429)" in body["message"]
    [body] = bodies(made_of("1-0", {**of_recording, "transcribed": "skipped", "why": "nothing_said"}, RECORD))
    assert (body["event"], body["status_code"], body["status"]) == ("transcription.skipped", 200, "success")
    [body] = bodies(made_of("1-0", {**of_recording, "transcribed": "processed", "number": "1"}, RECORD))
    assert (body["transcript_id"], "captions" in body["message"]) == (f"tr-{body['bot_id']}", True)


def test_of_a_meeting_that_is_written_down_the_end_leaves_to_the_transcript_what_is_said_of_it() -> None:
    made = bodies(made_of("1-0", change("stopped", "everyone_left"), {**RECORD, "transcript_status": "processing"}))
    assert [body["event"] for body in made] == ["bot.stopped", "manifest.skipped", "audio.skipped"]
    of_files = recorded("completed", "stopped", "processed", "processed")
    made = bodies(made_of("1-0", of_files, {**RECORD, "transcript_status": "processed"}))
    assert [body["event"] for body in made] == ["manifest.completed", "audio.processed", "video.processed"]


def test_files_that_nobody_made_in_time_may_still_come_and_bot_done_says_so() -> None:
    given_up = {**recorded("skipped", "stopped", "skipped", ""), "done": "1"}
    made = bodies(made_of("1-0", given_up, {**RECORD, "manifest_status": "skipped"}))
    assert "in time" in made[0]["message"]
    assert [body["event"] for body in made if body.get("status") == "error"] == ["manifest.skipped", "audio.skipped"]
    assert "still come" in made[-1]["message"]
    assert made[-1]["status_code"] == 500


def test_files_that_could_not_be_made_are_told_of_as_that_with_the_cause() -> None:
    given_up = {**recorded("skipped", "stopped", "skipped", "skipped"), "why": "no file was made (exit 1): MemoryError"}
    made = bodies(made_of("1-0", given_up, RECORD))
    assert [body["event"] for body in made] == [
        "manifest.skipped", "audio.skipped", "transcription.skipped", "video.skipped",
    ]  # fmt: skip
    for body in (made[0], made[1], made[3]):
        kind, _, _ = body["event"].partition(".")
        assert body["message"] == f"There is no {kind}: no file was made (exit 1): MemoryError."
        assert (body["status"], body[f"{kind}_status"], body["status_code"]) == ("error", "skipped", 200)
    assert made[2]["status"] == "success"


def test_who_asked_for_video_is_told_that_there_is_none() -> None:
    made = made_of("1-0", change("stopped", "meeting_ended"), {**RECORD, "video": "1"})
    assert made[-1].event == "video.skipped"
    late = made_of("1-0", recorded("completed", "stopped", "processed", ""), {**RECORD, "video": "1"})
    assert late[-1].event == "video.skipped"


def test_the_same_entry_makes_the_same_webhooks_and_another_one_others() -> None:
    first = made_of("1-0", change("stopped", "meeting_ended"), RECORD)
    assert made_of("1-0", change("stopped", "meeting_ended"), dict(RECORD)) == first
    other = made_of("1-1", change("stopped", "meeting_ended"), RECORD)
    assert {delivery.id for delivery in first}.isdisjoint(delivery.id for delivery in other)


def test_no_meeting_link_is_passed_on() -> None:
    detail = f"net::ERR_FAILED at {LINK} (twice: '{LINK}')"
    made = made_of("1-0", change("stopped", "page_load_failed"), {**RECORD, "reason_detail": detail})
    assert "abc-defg" not in "".join(delivery.body for delivery in made)
    assert "secret" not in "".join(delivery.body for delivery in made)
    assert bodies(made)[0]["reason_detail"].startswith("net::ERR_FAILED at https://meet.google.com/…")


def test_what_the_record_became_later_is_not_said_of_earlier_changes() -> None:
    later = {**RECORD, "reason_detail": "kicked", "attribution": Attribution.HOST, "status": Status.STOPPED}
    (body,) = bodies(made_of("1-0", change("joining"), later))
    assert (body["bot_status"], body["reason"], body["reason_detail"], body["attribution"]) == ("Joining", "", "", "")


def test_a_bot_without_a_callback_is_not_told_of() -> None:
    assert made_of("1-0", change("joining"), {**RECORD, "callback_url": ""}) == []
    assert made_of("1-0", change("joining"), {}) == []


@pytest.mark.parametrize(
    ("record", "attempt", "reason", "told"),
    [
        ({"queue_timeout": "0"}, 0, "no_capacity", False),
        ({"queue_timeout": "0.0"}, 0, "no_capacity", False),
        ({"queue_timeout": "0"}, 0, "requirement_unmet", False),
        ({"queue_timeout": "0", "join_at": AT}, 0, "no_capacity", True),
        ({"queue_timeout": "0"}, 1, "no_capacity", True),
        ({"queue_timeout": "0"}, 0, "user_requested", True),
        ({"queue_timeout": "5"}, 0, "no_capacity", True),
        ({"queue_timeout": ""}, 0, "no_capacity", True),
        ({}, 0, "no_capacity", True),
    ],
)
def test_a_bot_that_was_refused_at_once_is_not_told_of(
    record: dict[str, str], attempt: int, reason: str, told: bool
) -> None:
    made = made_of("1-0", change("stopped", reason, attempt), {**RECORD, **record})
    assert bool(made) is told


def test_a_deletion_is_told_without_anything_of_what_was_deleted() -> None:
    record = Record.from_hash({**RECORD, "status": "Stopped"})
    made = deletion(record, 7, AT)
    body = json.loads(made.body)
    assert made == deletion(record, 7, AT)
    assert (body["event"], body["bot_event"], body["deleted_objects"]) == ("data_deletion", "data_deletion", 7)
    assert (body["bot_status"], body["status_code"], body["timestamp"]) == ("Stopped", 200, AT)
    assert not body.keys() & {"custom_attributes", "user_id", "calendar_event_id"}


def test_all_is_done_for_a_bot_that_is_deleted_before_its_transcript_is_there() -> None:
    ended = {"state": "stopped", "status": "Stopped", "status_reason": "everyone_left", "attempt": "2"}
    made = done_by_deletion(Record.from_hash({**RECORD, **ended, "transcript_status": "processing"}), AT)
    body = json.loads(made.body)
    assert (made.event, made.url, made.bot_id) == ("bot.done", RECORD["callback_url"], "b")
    assert (body["event"], body["bot_status"], body["status_code"], body["attempt"]) == ("bot.done", "Done", 200, 2)
    assert (body["message"], body["reason"]) == ("All is done for this bot: it is deleted.", "everyone_left")


def test_a_receiver_of_its_own_is_told_of_a_transcript_that_a_deletion_prevents() -> None:
    ended = {"state": "stopped", "status": "Stopped", "status_reason": "everyone_left", "attempt": "2"}
    record = Record.from_hash({**RECORD, **ended})
    made = untranscribed_by_deletion(record, 3, "https://theirs.example/x", AT)
    body = json.loads(made.body)
    assert (made.event, made.url, made.line) == ("transcription.skipped", "https://theirs.example/x", "b~3")
    assert (body["transcript_id"], body["transcript_status"], body["bot_status"]) == ("tr-b~3", "skipped", "Stopped")
    assert body["message"] == "There is no transcript of the recording: the bot was deleted."
    assert made.id != untranscribed_by_deletion(record, 4, made.url, AT).id


@pytest.mark.parametrize("fault", [{"state": "rejected"}, {"state": "joining", "attempt": "x"}, {"at": "soon"}])
def test_what_is_no_status_change_is_refused(fault: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        made_of("1-0", {**change("joining"), **fault}, RECORD)
