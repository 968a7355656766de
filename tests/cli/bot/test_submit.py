"""`submit`: what it refuses, what it pushes, and how it watches."""

import json
import signal
import time
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from redis import Redis

from common.jobs.job import JobRules, parse_job
from common.wire.messages import Join, Leave
from common.wire.vocabulary import BotState, Reason
from poolmgr.cli.root import cli
from poolmgr.store.keys import Keys
from tests.cli.conftest import LINK, Agent, CommandLine, busy, wait_for
from tests.fork_server import Forked
from tests.waiting import PATIENCE_S

Start = Callable[..., Forked]


def test_the_job_is_pushed_as_said_and_its_bot_id_printed(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    options = {
        "--name": "Ada [bold]",
        "--join-at": "2020-01-31T09:00:00+01:00",
        "--user-id": "u1",
        "--calendar-event-id": "c1",
        "--priority": "-5",
        "--dedup-key": "k1",
        "--callback-url": "https://hooks.example/x",
        "--message": "Hello",
        "--passcode": "s3cret",
        "--queue-timeout": "7.5",
        "--join-late-limit": "600",
    }
    attributes = ("--attribute", "team=red", "--attribute", "tier=2")
    result = poolmgr("submit", LINK, *(word for option in options.items() for word in option), *attributes)
    assert result.exit_code == 0
    payload: bytes = redis.rpop(keys.jobs)  # pyright: ignore[reportAssignmentType]
    job = parse_job(payload, time.time(), JobRules(frozenset({"127.0.0.1:8090"})))
    assert result.stdout == f"{job.bot_id}\n"
    assert "s3cret" not in result.output
    assert len(job.bot_id) == 32
    assert (job.bot_name, job.user_id, job.calendar_event_id) == ("Ada [bold]", "u1", "c1")
    assert (job.priority, job.deduplication_key, job.join_at) == (-5, "k1", 1580457600.0)
    assert (job.callback_url, job.bot_message, job.queue_timeout_s) == ("https://hooks.example/x", "Hello", 7.5)
    assert (job.passcode, job.join_late_limit_s) == ("s3cret", 600.0)
    assert json.loads(job.custom_attributes) == {"team": "red", "tier": 2}


def test_a_vm_that_it_requires_is_said_and_whether_there_is_one(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    redis.sadd(keys.vms, "vm-1", "vm-2")
    redis.hset(keys.vm("vm-1"), "labels", '{"region":"eu","account":"a"}')
    result = poolmgr("submit", LINK, "--require", "region=eu", "--require", "account=a")
    assert (result.exit_code, "warning" in result.stderr) == (0, False)
    payload: bytes = redis.rpop(keys.jobs)  # pyright: ignore[reportAssignmentType]
    assert json.loads(payload)["requires"] == {"region": "eu", "account": "a"}
    unmet = "requires: no VM of the fleet has region=mars at present; the bot waits for one"
    result = poolmgr("submit", LINK, "--require", "region=mars", "--json")
    assert f"warning: {unmet}" in result.stderr
    assert json.loads(result.stdout)["warnings"] == [unmet]
    redis.delete(keys.jobs, keys.vms, keys.vm("vm-1"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--one-bot-per-meeting", {"one_bot_per_meeting": True}),
        ("--bot-of-its-own", {"one_bot_per_meeting": False}),
        ("--json", {}),
    ],
)
def test_whether_it_is_to_be_the_only_bot_is_said_or_left_to_the_setting(
    option: str, said: dict[str, bool], poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    assert poolmgr("submit", LINK, option, "--bot-id", "my-bot").exit_code == 0
    payload: bytes = redis.rpop(keys.jobs)  # pyright: ignore[reportAssignmentType]
    assert json.loads(payload) == {"meeting_link": LINK, "bot_id": "my-bot", **said}


def test_it_says_when_no_manager_leads(poolmgr: CommandLine) -> None:
    result = poolmgr("submit", LINK)
    assert "no manager leads at the moment: the job waits in the queue" in result.stderr


def test_it_says_what_was_guessed(poolmgr: CommandLine) -> None:
    result = poolmgr("submit", "https://jitsi.company.example/Room")
    assert result.exit_code == 0
    assert "jitsi.company.example is taken for a Jitsi by the name of the host" in result.stderr
    assert "is taken for" not in poolmgr("submit", LINK).stderr


def test_it_warns_of_what_does_not_happen_as_it_says(poolmgr: CommandLine) -> None:
    result = poolmgr("submit", LINK, "--join-at", "2020-01-01", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["warnings"] == [
        "join_at: is a date without a time; the bot joins at 00:00 UTC of that day"
    ]
    assert "poolmgr: warning: join_at: is a date without a time" in result.stderr
    refused = poolmgr("submit", LINK, "--join-at", "2020-01-01", POOLMGR_MEETINGS__STRICT="true")
    assert (refused.exit_code, "is a date without a time" in refused.stderr) == (2, True)


def test_the_link_may_come_from_standard_input(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    assert poolmgr("submit", "-", "--bot-id", "my-bot", "--json", stdin=f"{LINK}\n").stdout == '{"bot_id": "my-bot"}\n'
    payload: bytes = redis.rpop(keys.jobs)  # pyright: ignore[reportAssignmentType]
    assert json.loads(payload) == {"meeting_link": LINK, "bot_id": "my-bot"}


def test_what_is_no_text_is_refused_by_every_command_before_anything_is_asked(
    poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    half = "a\udcff"  # as Python reads the byte FF of a command line
    calls = (
        *(("submit", half), ("submit", LINK, "--name", half), ("submit", LINK, "--attribute", f"a={half}")),
        *(
            ("bots", half),
            ("leave", half),
            ("explain", half),
            ("drain", half),
            ("webhooks", half),
            ("dead", "put-back", half),
        ),
        *(("webhooks", "--replay", half), ("probe", half), ("token", half)),
    )
    for arguments in calls:
        result = poolmgr(*arguments)
        assert result.exit_code == 2
        assert "not UTF-8" in result.stderr
    assert not redis.exists(keys.jobs, keys.control)


def test_standard_input_that_is_no_text_is_refused() -> None:
    result = CliRunner().invoke(cli, ["submit", "-"], input=b"\xff\n", prog_name="poolmgr")
    assert (result.exit_code, "not UTF-8" in result.stderr) == (2, True)


def test_the_passcode_may_come_from_the_environment(
    poolmgr: CommandLine, redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLMGR_SUBMIT_PASSCODE", "s3cret")
    assert poolmgr("submit", LINK, "--bot-id", "my-bot").exit_code == 0
    payload: bytes = redis.rpop(keys.jobs)  # pyright: ignore[reportAssignmentType]
    assert json.loads(payload)["passcode"] == "s3cret"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("https://example.com/secret",), "unknown platform: 'example.com'"),
        (("ftp://127.0.0.1:8090/r/secret",), "does not begin with https://"),
        (("",), "meeting_link is required"),
        ((LINK, "--bot-id", "../x"), "bot_id: must be"),
        ((LINK, "--bot-id", ""), "bot_id: must be"),
        ((LINK, "--priority", "9999"), "priority: expected"),
        ((LINK, "--join-late-limit", "0"), "join_late_limit: expected"),
        ((LINK, "--join-at", "tomorrow"), "join_at: is not an ISO 8601 time"),
        ((LINK, "--name", "\x1b"), "bot_name: has no printable character"),
        ((LINK, "--passcode", "secret\x1b"), "passcode: holds a character that nobody can type"),
        ((LINK, "--passcode", "secret" * 50), "passcode: expected"),
        ((LINK, "--attribute", "team"), "--attribute team: write it as KEY=VALUE"),
        ((LINK, "--require", "region"), "--require region: write it as LABEL=VALUE"),
        ((LINK, "--require", "region= x"), "requires"),
        ((LINK, "--callback-url", "https://10.0.0.1/secret"), "callback_url: the URL's host is an address"),
        ((LINK, "--timeout", "3"), "--timeout needs --wait"),
        ((LINK, "--wait", "--timeout", "0"), "0.0 is not in the range"),
    ],
)
def test_a_job_that_is_none_fails_before_anything_is_pushed(
    arguments: tuple[str, ...], reason: str, poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    result = poolmgr("submit", *arguments)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "secret" not in result.output
    assert result.stdout == ""
    assert not redis.exists(keys.jobs)


def test_wait_prints_each_change_and_ends_well_with_the_bot(agent: Agent, start: Start) -> None:
    watching = start("submit", LINK, "--wait", "--bot-id", "bot-1", "--json")
    (join,) = agent.orders(Join)
    for state in (BotState.JOINING, BotState.WAITING_ROOM, BotState.IN_MEETING):
        agent.move(join, state)
    agent.end(join, Reason.MEETING_ENDED)
    out, err = watching.communicate(PATIENCE_S)
    first, *changes = [json.loads(line) for line in out.splitlines()]
    assert first == {"bot_id": "bot-1"}
    states = ["queued", "assigned", "joining", "waiting_room", "in_meeting", "stopped"]
    assert [change["state"] for change in changes] == states
    assert changes[-1]["status"] == "Stopped"
    assert changes[-1]["reason"] == "meeting_ended"
    elapsed = [change["elapsed_s"] for change in changes]
    assert elapsed == sorted(elapsed)
    assert err == ""
    assert watching.returncode == 0


@pytest.mark.long
def test_wait_fails_when_the_bot_was_denied_and_shows_it_for_people(agent: Agent, start: Start) -> None:
    watching = start("submit", LINK, "--wait")
    (join,) = agent.orders(Join)
    agent.end(join, Reason.REQUEST_DENIED)
    out, _ = watching.communicate(PATIENCE_S)
    bot_id, *lines = out.splitlines()
    assert bot_id == join.bot_id
    time, elapsed, unit, *words = lines[-1].split()
    assert time.count(":") == 2
    assert elapsed.startswith("+")
    assert unit in ("ms", "s")
    assert words == ["Denied", "stopped", "request_denied", f"vm-1/{join.worker_id}"]
    assert LINK not in out
    assert watching.returncode == 1


@pytest.mark.long
@pytest.mark.usefixtures("manager")
def test_wait_says_why_a_job_was_rejected(start: Start) -> None:
    first = start("submit", LINK, "--dedup-key", "once")
    first.communicate(PATIENCE_S)
    again = start("submit", LINK, "--dedup-key", "once", "--wait")
    out, err = again.communicate(PATIENCE_S)
    assert out.splitlines()[-1].split()[-4:] == ["Error", "rejected", "duplicate_key", "–"]
    assert "the job was rejected: deduplication_key: bot " in err
    assert again.returncode == 1


@pytest.mark.long
def test_a_bot_id_in_use_fails_before_anything_is_pushed(agent: Agent, poolmgr: CommandLine) -> None:
    poolmgr("submit", LINK, "--bot-id", "taken")
    agent.orders(Join)
    result = poolmgr("submit", LINK, "--bot-id", "taken", "--wait")
    assert result.exit_code == 1
    assert "there is a bot taken already" in result.stderr


def test_wait_gives_up_at_its_timeout_and_leaves_the_job_alone(poolmgr: CommandLine, redis: Redis, keys: Keys) -> None:
    result = poolmgr("submit", LINK, "--wait", "--timeout", "0.05")
    assert result.exit_code == 6
    assert "has not ended within 0.05 s; it goes on" in result.stderr
    assert redis.llen(keys.jobs) == 1


def test_ctrl_c_stops_watching_and_not_the_bot(agent: Agent, start: Start, poolmgr: CommandLine) -> None:
    watching = start("submit", LINK, "--wait", "--bot-id", "bot-1")
    assert watching.stdout
    (join,) = agent.orders(Join)
    agent.beat(**{join.worker_id: busy(join)})
    agent.move(join, BotState.IN_MEETING)
    while "InMeeting" not in watching.stdout.readline():
        pass
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(PATIENCE_S)
    assert err == "poolmgr: stopped watching; bot bot-1 goes on (`poolmgr leave bot-1` ends it)\n"
    assert watching.returncode == 130
    assert poolmgr.json("bots", "bot-1")["status"] == "InMeeting"


def test_leave_asks_the_agent_and_waits_for_the_end(agent: Agent, start: Start, poolmgr: CommandLine) -> None:
    poolmgr("submit", LINK, "--bot-id", "bot-1")
    (join,) = agent.orders(Join)
    agent.move(join, BotState.IN_MEETING)
    wait_for(lambda: poolmgr.json("bots", "bot-1")["status"] == "InMeeting")
    leaving = start("leave", "bot-1", "--wait")
    agent.orders(Leave)
    agent.end(join, Reason.USER_REQUESTED)
    out, _ = leaving.communicate(PATIENCE_S)
    assert out.splitlines()[0] == "bot-1: asked to leave"
    assert "user_requested" in out.splitlines()[-1]
    assert leaving.returncode == 0

    again = poolmgr("leave", "bot-1", "--wait")
    assert again.exit_code == 0
    assert "bot bot-1 has ended already: Stopped, user_requested" in again.stderr
    assert poolmgr.json("leave", "bot-1") == {"bot_id": "bot-1", "requested": False, "status": "Stopped"}


def test_leave_knows_no_such_bot(poolmgr: CommandLine) -> None:
    result = poolmgr("leave", "nobody\x1b[2J")
    assert result.exit_code == 4
    assert "there is no bot nobody\\x1b[2J" in result.stderr
