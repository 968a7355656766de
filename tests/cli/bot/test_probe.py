"""`probe`: a bot that looks, followed from the outside, and what its exit code says."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from common.jobs.record import Record
from common.wire.messages import BotEnded, BotSaw, Join, Leave
from common.wire.vocabulary import BotState, Reason
from poolmgr.cli.bot.probe import exit_code
from poolmgr.store.keys import Keys
from tests.cli.conftest import LINK, Agent, CommandLine, busy
from tests.fork_server import Forked
from tests.waiting import PATIENCE_S

Start = Callable[..., Forked]


def saw(agent: Agent, join: Join, screen: str, did: str = "") -> None:
    facts = (agent.vm_id, join.worker_id, join.bot_id, join.attempt, time.time())
    agent.send(BotSaw(*facts, screen, f"{screen}-rule", did))


def ended(agent: Agent, join: Join, reason: Reason, evidence: str) -> None:
    facts = (agent.vm_id, join.worker_id, join.bot_id, join.attempt, time.time())
    agent.send(BotEnded(*facts, reason, evidence=evidence))


def test_each_screen_is_told_as_it_comes_and_then_the_end(
    start: Start, agent: Agent, redis: Redis, keys: Keys, tmp_path: Path
) -> None:
    process = start("probe", LINK, "--passcode", "4711", "--stay", "7", "--save", str(tmp_path), "--name", "Looker")
    [join] = agent.orders(Join)
    assert (join.is_probe, join.passcode, join.bot_name) == (True, "4711", "Looker")
    assert join.automatic_leave.in_call_recording_timeout == 7
    agent.beat(**{join.worker_id: busy(join)})
    agent.move(join, BotState.JOINING)
    saw(agent, join, "name_prompt")
    saw(agent, join, "name_prompt", "fill_name_and_join")
    agent.move(join, BotState.IN_MEETING, rule="leave-button")
    redis.set(keys.evidence(join.bot_id, 1), "a bundle")
    ended(agent, join, Reason.MAX_DURATION, f"{join.bot_id}-1")
    out, err = process.communicate(PATIENCE_S)
    assert process.returncode == 0, err
    assert "the page showed name_prompt (rule name_prompt-rule)" in out
    assert "the bot did: fill_name_and_join" in out
    assert "joined: max_duration" in err
    assert (tmp_path / f"{join.bot_id}-1.zip").read_bytes() == b"a bundle"
    assert "4711" not in out + err


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(other, marks=pytest.mark.long) for other in (signal.SIGTERM, signal.SIGHUP))],
)
def test_a_probe_that_is_stopped_makes_its_bot_leave(start: Start, agent: Agent, number: signal.Signals) -> None:
    process = start("probe", LINK)
    [join] = agent.orders(Join)
    process.send_signal(number)
    _, err = process.communicate(PATIENCE_S)
    assert (process.returncode, "has been asked to leave" in err) == (130, True), err
    [order] = agent.orders(Leave)
    assert order.bot_id == join.bot_id


@pytest.mark.long
def test_a_probe_whose_reader_is_gone_makes_its_bot_leave(start: Start, agent: Agent) -> None:
    process = start("probe", LINK)
    [join] = agent.orders(Join)
    assert process.stdout
    process.stdout.close()
    saw(agent, join, "name_prompt")
    [order] = agent.orders(Leave)
    assert order.bot_id == join.bot_id
    process.wait(PATIENCE_S)


def test_a_refusal_is_no_failure(start: Start, agent: Agent) -> None:
    process = start("probe", LINK, "--json")
    [join] = agent.orders(Join)
    agent.beat(**{join.worker_id: busy(join)})
    agent.move(join, BotState.WAITING_ROOM)
    ended(agent, join, Reason.REQUEST_DENIED, "")
    out, err = process.communicate(PATIENCE_S)
    assert process.returncode == 7, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0] == {"bot_id": join.bot_id}
    assert (lines[-1]["outcome"], lines[-1]["status_reason"]) == ("refused", "request_denied")


def test_what_is_no_link_is_refused_and_what_nobody_takes_is_left(
    poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    assert poolmgr("probe", "https://example.com/secret").exit_code == 2
    result = poolmgr("probe", LINK, "--save", "/proc/nothing")
    assert (result.exit_code, "cannot write to /proc/nothing" in result.stderr, redis.llen(keys.jobs)) == (1, True, 0)
    result = poolmgr("probe", "-", "--timeout", "0.2", stdin=f"{LINK}\n")
    assert (result.exit_code, "no manager leads" in result.stderr) == (6, True)
    assert redis.llen(keys.jobs) == 0, "no manager that comes later sends a bot in"


def test_a_probe_whose_job_is_rejected_has_failed(
    poolmgr: CommandLine, redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poolmgr.cli.bot.probe.uuid.uuid4", lambda: type("Id", (), {"hex": "b"}))
    redis.xadd(keys.dead, {"at": "", "reason": "duplicate_key", "detail": "was there", "bot_id": "b", "payload": ""})
    result = poolmgr("probe", LINK)
    assert (result.exit_code, "rejected: was there" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"inmeeting_at": "2027", "attribution": "us"}, 0),
        ({"inmeeting_at": "", "attribution": "host"}, 7),
        ({"attribution": "user"}, 7),
        ({"attribution": "user", "status_reason": "user_requested"}, 1),
        ({"attribution": "platform"}, 1),
        ({"attribution": "us"}, 1),
        ({}, 1),
    ],
)
def test_the_exit_code_says_whose_doing_it_was(record: dict[str, str], code: int) -> None:
    assert exit_code(Record.from_hash(record)) == code
