"""What is said: a line that teaches for each piece of news, and nothing that could harm whoever pastes it."""

import json
import shlex
from pathlib import Path

import msgspec
import pytest

from common.config.settings import RedisSettings, Settings
from poolmgr.cli.program.up_words import lines
from poolmgr.one_machine import news, run
from poolmgr.one_machine.folder import StateFolder
from poolmgr.one_machine.news import News, PartName
from poolmgr.one_machine.run import Order

REDIS, MANAGER, AGENT = PartName
OPENED = news.Opened(
    program="poolmgr",
    config="",
    environment={"POOLMGR_REDIS__URL": "unix:///home/ana/my%20state/redis.sock", "POOLMGR_POOL__MIN_IDLE": "2"},
    redis_url="unix:///home/ana/my%20state/redis.sock",
    jobs="poolmgr:jobs",
    socket="/home/ana/my state/redis.sock",
    api="127.0.0.1:8080",
    api_tls=False,
    metrics="127.0.0.1:9464",
    vm_id="laptop",
    token_file="/home/ana/my state/token",
    header_file="/home/ana/my state/authorization",
    room_hosts=["127.0.0.1:8090"],
    min_idle=2,
    max_workers=12,
)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            news.Began("/var/lib/poolmgr", "", [], "", is_root=True),
            [
                "state     /var/lib/poolmgr: data, token, log/*.log",
                "config    every key has its default: no file was named",
                "redis     one of its own, append-only, on a socket and no port",
                "ROOT      Chromium has no sandbox for root: what breaks out of a page is root. Use a user's account",
            ],
        ),
        (
            news.Began(
                "/s", "/etc/p.toml", ["POOLMGR_REDIS__URL", "credential redis_url"], "POOLMGR_REDIS__URL", is_root=False
            ),
            [
                "state     /s: data, token, log/*.log",
                "config    /etc/p.toml; overridden by POOLMGR_REDIS__URL, credential redis_url",
                "redis     the one that POOLMGR_REDIS__URL names; none is started",
            ],
        ),
        (
            news.TookOver(AGENT, 12, was_killed=True),
            ["agent     an earlier `poolmgr up` left one (process 12): it had to be killed; its browsers go on"],
        ),
        (
            news.TookOver(REDIS, 12, was_killed=False),
            ["redis     an earlier `poolmgr up` left one (process 12): it is gone"],
        ),
        (news.Warming(1, 2, 5.0), ["warming: 1 of 2 browsers, after 5.00 s"]),
        (news.Ready(2, 2, 0, 1.9), ["ready: 2 browsers are warm after 1.90 s"]),
        (news.Ready(0, 0, 1, 1.9), ["ready: no browser is kept warm (pool.min_idle), after 1.90 s, 1 bot goes on"]),
        (
            news.Ready(1, 5, 2, 4.1),
            [
                "ready: 1 browser is warm after 4.10 s, 2 bots go on",
                "       5 are wanted (pool.min_idle): there is no memory for more (worker.memory_reserve_mb)",
            ],
        ),
        (
            news.Waiting("Error 111", 2.1, "/etc/poolmgr/config.toml"),
            [
                "redis     no answer, for 2.10 s by now: Error 111",
                "          /etc/poolmgr/config.toml names it; where nothing does, `poolmgr up` starts one of its own",
            ],
        ),
        (news.Died(AGENT, -9, ("old words",), 0.5), ["agent     was ended by SIGKILL; started again in 500 ms"]),
        (news.Died(AGENT, -63, (), 0.5), ["agent     was ended by signal 63; started again in 500 ms"]),
        (
            news.Died(MANAGER, 1, ("poolmgr: cannot listen",), 30.0),
            ["manager   ended with exit code 1; started again in 30.0 s", "          poolmgr: cannot listen"],
        ),
        (news.Back(MANAGER, 1.5), ["manager   works again, after 1.50 s"]),
        (
            news.CannotStart(AGENT, 2, ("poolmgr-worker: cannot find a Chromium",)),
            [
                "agent     cannot start: it ended with exit code 2 (log/agent.log)",
                "          poolmgr-worker: cannot find a Chromium",
            ],
        ),
        (news.BotNews("bot-1", "in_meeting", ""), ["bot       bot-1 is in the meeting"]),
        (news.BotNews("bot-1", "stopped", "meeting_ended"), ["bot       bot-1 has ended (meeting_ended)"]),
        (news.BotNews("bot-1\x1b[2J", "rejected", "bad_link"), ["bot       bot-1\\x1b[2J was rejected (bad_link)"]),
        (news.BrowserFailed("warmup_failed", "no usable sandbox"), ["browser   warmup_failed: no usable sandbox"]),
        (
            news.Warned(AGENT, "warning", "events_unwritten", {"waiting": "3", "error": "gone"}),
            ["agent     warning: events_unwritten (waiting: 3, error: gone)"],
        ),
        (news.Draining(0, 14400.0), ["stopping: no bot is under way"]),
        (news.Draining(None, 14400.0), ["stopping: no bot is under way"]),
        (
            news.Draining(1, 14400.0),
            ["draining: 1 bot goes on until its call ends, 4h 00m at most. Ctrl-C makes it leave now"],
        ),
        (news.BotsLeft(2), ["draining: 2 bots are left"]),
        (news.BotsLeft(0), ["draining: no bot is left"]),
        (news.Leaving(2, 58.0), ["leaving: 2 bots leave their meetings, within 58.0 s. Ctrl-C ends all as it is"]),
        (news.Leaving(0, 58.0), ["leaving: all ends, within 58.0 s. Ctrl-C ends all as it is"]),
        (news.Ending(), ["ending: browsers and parts are killed"]),
        (news.Killed(MANAGER), ["manager   did not end in time and is killed"]),
        (news.Stopped(0), ["stopped. The next start goes on where this one was"]),
        (news.Stopped(2), ["stopped. Put right what is said above, and start again: it goes on where this one was"]),
    ],
)
def test_each_piece_of_news_is_said_in_words_and_in_json(what: News, said: list[str]) -> None:
    assert lines(what) == said
    assert json.loads(msgspec.json.encode(what))["event"]


def test_every_kind_of_news_has_words() -> None:
    kinds = [kind for kind in vars(news).values() if isinstance(kind, type) and issubclass(kind, News)]
    assert {kind for kind in kinds if kind is not News} <= set(lines.registry)


def test_the_lines_to_paste_are_whole_words_for_a_shell_and_show_no_token() -> None:
    said = lines(OPENED)
    [pushed] = [shlex.split(line) for line in said if "redis-cli" in line]
    assert pushed[:5] == ["redis-cli", "-s", "/home/ana/my state/redis.sock", "LPUSH", "poolmgr:jobs"]
    [called] = [shlex.split(line) for line in said if "curl" in line]
    assert called[:3] == ["curl", "-H", "@/home/ana/my state/authorization"]
    assert "http://127.0.0.1:8080/api/v1/bots/create_bot" in called
    assert json.loads(called[-1]) == json.loads(pushed[-1])
    assert json.loads(pushed[-1])["meeting_link"] == "http://127.0.0.1:8090/r/standup"
    [look] = [shlex.split(line) for line in said if "poolmgr fleet" in line]
    redis = "POOLMGR_REDIS__URL=unix:///home/ana/my%20state/redis.sock"
    assert look == [redis, "POOLMGR_POOL__MIN_IDLE=2", "poolmgr", "fleet", "--watch"]


def opened(**others: object) -> str:
    return "\n".join(lines(msgspec.structs.replace(OPENED, **others)))


def test_they_follow_the_configuration() -> None:
    assert "https://[::1]:443/api/v1/bots/create_bot" in opened(api="[::1]:443", api_tls=True)
    assert "  curl -k -H" in opened(api_tls=True), "the certificate has no name of this machine's own"
    assert "http://127.0.0.1:8080/api/v1/bots" in opened(api="0.0.0.0:8080")
    assert "http://127.0.0.1:8080/api/v1/bots" in opened(api=":8080")
    assert "http://127.0.0.1:PORT/api/v1/bots" in opened(api=":0"), "only the kernel knows"
    assert "-m lab.meeting --open --listen 127.0.0.1:9000" in opened(room_hosts=["127.0.0.1:9000"])
    assert "-m lab.meeting" not in opened(room_hosts=[])
    assert "meet.google.com" in opened(room_hosts=[])
    assert "  poolmgr fleet --watch --config '/etc/my config.toml'" in opened(
        environment={}, config="/etc/my config.toml"
    )
    assert "redis-cli -s /run/redis.sock LPUSH '{p}:jobs'" in opened(socket="/run/redis.sock", jobs="{p}:jobs")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://redis:6379/2", "-u redis://redis:6379/2"),
        ("redis://redis?db=2", "-u redis://redis/2"),
        ("rediss://:secret@redis:6379/0", "--askpass -u rediss://redis:6379/0"),
        ("redis://a%20b:secret@redis:6379", "--askpass --user 'a b' -u redis://redis:6379/0"),
        ("redis://redis:6379?username=ana&password=secret", "--askpass --user ana -u redis://redis:6379/0"),
        ("unix:///run/my%20r.sock?db=2", "-s '/run/my r.sock' -n 2"),
        ("unix://:secret@/run/redis.sock", "--askpass -s /run/redis.sock"),
        ("redis+sentinel://a,b/pool/3?sentinel_password=secret", "-h PRIMARY -n 3"),
        ("redis+cluster://a,b?password=secret", "--askpass -c -u redis://a:6379/0"),
    ],
)
def test_redis_cli_finds_a_redis_of_ones_own_and_asks_for_its_password(tmp_path: Path, url: str, options: str) -> None:
    order = Order(StateFolder(tmp_path), Settings(), None, {}, None)
    told = run.opened(order, RedisSettings(url=url), "POOLMGR_REDIS__URL", "laptop", "poolmgr")
    said = "\n".join(lines(told))
    assert f"  redis-cli {options} LPUSH poolmgr:jobs" in said
    assert "secret" not in said + msgspec.json.encode(told).decode()
    is_whole = "secret" not in url
    assert ("\n  POOLMGR_REDIS__URL=" in said) == is_whole, "what would replace the right value is not to be pasted"
    assert ("with POOLMGR_REDIS__URL as here, which holds a password" in said) != is_whole


def test_a_file_that_names_the_redis_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    order = Order(StateFolder(tmp_path), Settings(), file, {"redis.url": str(file)}, 2)
    told = run.opened(order, RedisSettings(url="redis://:secret@redis"), str(file), "laptop", "poolmgr")
    assert told.environment == {"POOLMGR_POOL__MIN_IDLE": "2"}
    assert f"  POOLMGR_POOL__MIN_IDLE=2 poolmgr fleet --watch --config {file}" in lines(told)
