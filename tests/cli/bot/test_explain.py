"""`explain`: what is said of bots that wait, live, ended, were rejected, or never were; and evidence, saved."""

import io
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from redis import Redis

from common.config.settings import CaptureSettings, PoolSettings
from common.jobs.record import Record
from common.wire.manifest import Gap
from common.wire.messages import BotRecorded, BotSaw
from common.wire.vocabulary import BotState, Reason, VmState
from poolmgr.core.decisions import Ask, Decision, End, Enqueue, KeepVm, Move, Note, NoteFailed, NoteRecorded, Why
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Standing, VmView
from poolmgr.store.story import Entry, What
from poolmgr.telling.meaning import meaning_of
from poolmgr.telling.narrative import sentences, waits_for
from tests.cli.bot.test_bots import SECRET, Writer, accept, assign
from tests.cli.conftest import CommandLine

ATTEMPTS: tuple[Decision, ...] = (
    Move("b", 1, BotState.JOINING, 1_800_000_001.0, "loading"),
    Note(BotSaw("vm", "w", "b", 1, 1_800_000_002.0, "name_prompt", "name-field", ""), "google_meet"),
    *(
        Note(
            BotSaw("vm", "w", "b", 1, 1_800_000_003.0, "name_prompt", "name-field", "fill_name_and_join"), "google_meet"
        ),
    )
    * 3,
    NoteFailed("b", 1, Reason.UI_ELEMENT_NOT_FOUND, "90 s passed", "b-1"),
    Enqueue("b", 1, Why.RETRY, failed=1),
)


@pytest.fixture
def write(redis_server: str, redis: Redis, keys: Keys) -> Writer:
    redis.set(keys.epoch, 1)
    return Writer(redis_server, keys)


def test_an_end_is_explained_from_the_decision_of_the_pool_on(write: Writer, poolmgr: CommandLine) -> None:
    write(accept("b", time.time()), assign("b"), *ATTEMPTS)
    write(Ask("vm-1", "w-1", "b", 1, Reason.USER_REQUESTED), End("b", 1, Reason.CAPTCHA, f"see {SECRET}"))
    result = poolmgr("explain", "b", COLUMNS="400")
    assert result.exit_code == 0
    assert "captcha, the platform's doing" in result.stdout
    assert "secret" not in result.stdout
    happened = [line.rstrip().split("  ")[-1].strip() for line in result.stdout.splitlines()]
    for sentence in (
        "accepted as a bot for google_meet, in line for a worker",
        "the page showed name_prompt (rule name-field)",
        "the bot did: fill_name_and_join (so 3 times)",
        "attempt 1 came to nothing: ui_element_not_found: 90 s passed (evidence b-1)",
        "in line again, because a fresh browser may do better",
        "b-1: on its way, or its time is over",
    ):
        assert sentence in happened
    assert "given to worker w-1 of VM vm-1 (the newest idle one of the VM with the fewest bots" in result.stdout
    assert SECRET in poolmgr("explain", "b", "--show-link").stdout


def test_programs_get_the_story_its_meaning_and_what_is_kept(
    write: Writer, poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    write(accept("b", time.time()), assign("b"), *ATTEMPTS, End("b", 1, Reason.CAPTCHA))
    redis.set(keys.evidence("b", 1), "x")
    document = poolmgr.json("explain", "b")
    assert [entry["what"] for entry in document["story"]][:3] == ["accepted", "assigned", "moved"]
    assert document["bot"]["status_reason"] == "captcha"
    assert "payload" not in document["bot"]
    assert document["means"]["do"].startswith("poolmgr explain")
    assert document["evidence"] == [{"name": "b-1", "is_here": True}]
    assert document["waits_for"] == []


def test_evidence_is_saved_as_it_was_packed(
    write: Writer, poolmgr: CommandLine, redis: Redis, keys: Keys, tmp_path: Path
) -> None:
    write(accept("b", time.time()), assign("b"))
    assert "no evidence" in poolmgr("explain", "b", "--save", str(tmp_path)).stderr
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr("about.json", "{}")
    redis.set(keys.evidence("b", 1), data.getvalue())
    assert poolmgr("explain", "b", "--save", str(tmp_path / "deep" / "er")).exit_code == 0
    assert (tmp_path / "deep" / "er" / "b-1.zip").read_bytes() == data.getvalue()
    (tmp_path / "file").write_text("")
    assert poolmgr("explain", "b", "--save", str(tmp_path / "file" / "below")).exit_code == 1


def test_a_queued_bot_waits_for_a_worker_and_the_fleet_says_why(
    write: Writer, poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    write(accept("b", time.time()))
    shown = poolmgr("explain", "b", COLUMNS="200").stdout
    assert "no manager leads" in shown
    assert "an idle worker" in shown
    assert "there is no VM" in shown
    redis.set(keys.leader, "somebody")
    write(KeepVm("vm-1", "s", draining=False, lost=False), KeepVm("vm-2", "s", draining=False, lost=True))
    redis.set(keys.alive("vm-1"), "x")
    waits = poolmgr.json("explain", "b")["waits_for"]
    assert waits == [
        "an idle worker",
        "lost, so without new bots: vm-2",
        "on the 1 VMs that are up: 0 idle, 0 warming, 0 busy, 0 reserved workers",
        'none is warming either: see "Nothing is idle" in docs/operations.md',
    ]


def test_of_a_recording_every_gap_is_told_with_its_cause(write: Writer, poolmgr: CommandLine) -> None:
    gaps = (Gap(1_800_000_000.0, 1_800_000_002.5, "agent_away"), Gap(1_800_000_020.0, 1_800_000_030.0, "paused"))
    made = BotRecorded("vm-1", "b", 1, 1_800_000_060.0, finished=True, audio_s=60.0, gaps=2, first_gaps=gaps)
    write(accept("b", time.time()), assign("b"), NoteRecorded(made))
    told = "2 gaps: no sound from 08:00:00 for 2.50 s (agent_away); no sound from 08:00:20 for 10.0 s (paused)"
    assert told in poolmgr("explain", "b", COLUMNS="400").stdout
    [entry] = [entry for entry in poolmgr.json("explain", "b")["story"] if entry["what"] == "recorded"]
    assert [(gap["began_at"], gap["cause"]) for gap in entry["first_gaps"]] == [
        (1_800_000_000.0, "agent_away"), (1_800_000_020.0, "paused"),
    ]  # fmt: skip


def test_of_a_job_that_was_rejected_the_reason_is_told(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    entry: Any = {"at": "2027-01-01T00:00:00Z", "reason": "bad_link", "detail": f"{SECRET} is none", "bot_id": "b"}
    redis.xadd(keys.dead, {**entry, "payload": "{}"})
    result = poolmgr("explain", "b")
    assert result.exit_code == 0
    assert "bad_link" in result.stdout
    assert "secret" not in result.stdout
    assert poolmgr.json("explain", "b")["rejected"]["reason"] == "bad_link"


def test_of_a_bot_that_nobody_knows_nothing_is_told(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    redis.lpush(keys.jobs, "{}")
    result = poolmgr("explain", "nobody")
    assert result.exit_code == 4
    assert "nothing is known of a bot nobody" in result.stderr
    assert "1 jobs wait" in result.stderr


CAPTURE = CaptureSettings(store="/recordings")
UP = VmView("vm-1", VmState.UP, {"idle": 1, "warming": 0, "busy": 0, "reserved": 0, "retiring": 0}, [])
LED = Standing("somebody", 1, 0, 1)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"state": "in_meeting"}, ""),
        ({"state": "stopped"}, ""),
        ({"state": "scheduled", "join_at": "2027-01-01T00:00:00Z"}, "its join_at, 2027-01-01T00:00:00.000000Z"),
        ({"state": "queued"}, "about to be given one"),
        ({"state": "assigned", "vm_id": "vm-1", "attempt": "1"}, "the agent to begin it, on VM vm-1, which is up"),
        ({"state": "assigned", "vm_id": "vm-9", "attempt": "1", "claimed": "1"}, "not known any more"),
        ({"state": "waiting_room"}, "somebody in the meeting"),
        ({"state": "leaving"}, "the page to let it go"),
        ({"state": "joining", "screen": "name_prompt"}, "the page, which last showed name_prompt"),
    ],
)
def test_what_a_bot_waits_for_is_said_by_its_state(record: dict[str, str], expected: str) -> None:
    waits = waits_for(Record.from_hash(record), LED, [UP])
    assert expected in (waits[-1] if waits else "")
    assert bool(waits) is bool(expected)


FULL = replace(UP, processors=1.0, carried={"picture": 1, "sound": 2})


@pytest.mark.parametrize(
    ("fleet", "record", "expected"),
    [
        ([FULL], {"video": "1"}, "do not bear a recording of a picture more beside what is recorded there"),
        ([FULL], {}, "do not bear a recording of sound more"),
        ([FULL], {"no_audio": "1"}, "about to be given one"),
        ([FULL, UP], {"video": "1"}, "about to be given one"),
    ],
)
def test_a_bot_that_no_vm_bears_is_told_so(fleet: list[VmView], record: dict[str, str], expected: str) -> None:
    waits = waits_for(Record.from_hash({"state": "queued", **record}), LED, fleet, PoolSettings(), CAPTURE)
    assert expected in waits[-1]
    assert ("vm-1 0.75 of 0.90" in waits[-1]) is ("bear" in expected)


EU = replace(UP, vm_id="vm-2", labels={"region": "eu"}, workers={**UP.workers, "idle": 0, "warming": 1})


@pytest.mark.parametrize(
    ("fleet", "requires", "expected"),
    [
        ([UP, EU], '{"region":"eu"}', "on the 1 VMs that are up: 0 idle, 1 warming"),
        ([UP, EU], '{"region":"mars"}', "no VM of the fleet has that"),
        ([UP, replace(EU, state=VmState.LOST)], '{"region":"eu"}', "no VM of the fleet has that"),
        ([], '{"region":"eu"}', "there is no VM"),
    ],
)
def test_a_bot_that_requires_labels_waits_for_the_vms_that_have_them(
    fleet: list[VmView], requires: str, expected: str
) -> None:
    waits = waits_for(Record.from_hash({"state": "queued", "requires": requires}), LED, fleet)
    assert waits[0].startswith("an idle worker of a VM that has region=")
    assert expected in waits[-1]


def test_what_an_agent_began_is_told_where_it_belongs() -> None:
    entries = [Entry("1", What.ACCEPTED), Entry("2", What.ASSIGNED, 1), Entry("4", What.MOVED, 1, state="joining")]
    record = Record.from_hash({"claimed": "1", "claimed_at": "3"})
    assert [line.at for line in sentences(entries, record)] == ["1", "2", "3", "4"]
    assert [line.at for line in sentences(entries[:2], record)] == ["1", "2", "3"]
    assert [line.at for line in sentences(entries, Record.from_hash({"claimed": "7", "claimed_at": "3"}))] == [
        "1",
        "2",
        "4",
    ]
    assert sentences([Entry("1", What.CUT), Entry("2", What.RESCHEDULED, join_at="x")], Record.from_hash({}))[
        0
    ].text.startswith("...")


def test_a_meaning_for_a_terminal_has_no_markdown() -> None:
    assert meaning_of("no such word") is None
    shown = [found for reason in Reason if (found := meaning_of(reason))]
    assert not any(re.search(r"[\[\]`]", text) for meaning in shown for text in meaning)
