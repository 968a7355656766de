"""`probes`: what is shown of what the manager probed."""

import asyncio
import json
from pathlib import Path

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from common.runtime.exits import EXIT_FAILED, EXIT_NOT_FOUND
from poolmgr.store.keys import Keys
from poolmgr.store.leader.probes import ProbeRun, Probes
from tests.cli.conftest import CommandLine

CONFIG = """
[[probes.links]]
name = "meet"
link = "https://meet.google.com/abc-defg-hij"
[[probes.links]]
name = "zoom"
link = "https://zoom.us/j/98765432101?pwd=hidden"
"""


@pytest.fixture
def concluded(redis_server: str, redis: Redis, keys: Keys) -> "list[tuple[str, ProbeRun]]":
    """Written as a leader does, the latest last."""
    runs = [
        ("meet", ProbeRun("probe-meet-1", "2027-01-15T08:00:00Z", "google_meet", "refused", "request_denied")),
        ("meet", ProbeRun("probe-meet-2", "2027-01-15T08:15:00Z", "google_meet", "joined", join_s=2.5)),
        ("zoom", ProbeRun("probe-zoom-1", "2027-01-15T08:00:00Z", "zoom", "joined", new_steps=["a (b)"], changed=True)),
    ]
    redis.set(keys.epoch, 1, ex=600)

    async def write() -> None:
        client: AsyncRedis = AsyncRedis.from_url(redis_server)  # pyright: ignore[reportUnknownMemberType]
        from poolmgr.store.scripts import load_scripts

        await load_scripts(client)
        for name, run in runs:
            await Probes(client, keys, epoch=1).conclude(name, run)
        await client.aclose()

    asyncio.run(write())
    return runs


@pytest.fixture
def configured(poolmgr: CommandLine, tmp_path: Path) -> CommandLine:
    file = tmp_path / "config.toml"
    file.write_text(CONFIG)
    poolmgr.environment["POOLMGR_CONFIG"] = str(file)
    return poolmgr


@pytest.mark.usefixtures("concluded")
def test_the_latest_of_each_link_is_shown_with_its_history(configured: CommandLine) -> None:
    result = configured("probes", COLUMNS="200")
    assert result.exit_code == EXIT_FAILED  # one met another page
    _, meet, zoom = map(str.rstrip, result.stdout.splitlines())
    assert meet.split()[:2] == ["meet", "google_meet"]
    assert meet.endswith("as before  +r")
    assert zoom.endswith("changed    !")
    assert "98765432101" not in result.stdout


@pytest.mark.usefixtures("concluded")
def test_programs_are_told_all_but_the_links(configured: CommandLine) -> None:
    result = configured("probes", "--json")
    meet, zoom = json.loads(result.stdout)
    assert (meet["latest"]["outcome"], zoom["latest"]["new_steps"]) == ("joined", ["a (b)"])
    assert "98765432101" not in result.stdout
    history = json.loads(configured("probes", "meet", "--json").stdout)
    assert [run["bot_id"] for run in history] == ["probe-meet-2", "probe-meet-1"]
    assert configured("probes", "meet").exit_code == 0


@pytest.mark.usefixtures("concluded")
def test_one_link_shows_its_history_the_latest_first(configured: CommandLine) -> None:
    shown = configured("probes", "meet", COLUMNS="200").stdout
    assert shown.index("probe-meet-2") < shown.index("probe-meet-1")
    assert "request_denied" in shown
    assert "a (b)" in configured("probes", "zoom", COLUMNS="200").stdout
    assert "probe-meet-1" not in configured("probes", "meet", "--limit", "1", COLUMNS="200").stdout


def test_what_is_not_there_is_said(configured: CommandLine, poolmgr: CommandLine) -> None:
    assert "none yet" in configured("probes").stdout
    assert "no probe of it has ended yet" in configured("probes", "meet").stderr
    assert json.loads(configured("probes", "--json").stdout)[0]["latest"] is None
    unknown = configured("probes", "nobody")
    assert (unknown.exit_code, unknown.stdout) == (EXIT_NOT_FOUND, "")
    del poolmgr.environment["POOLMGR_CONFIG"]
    assert "nothing is probed" in poolmgr("probes").stderr


def test_links_and_passcodes_are_masked_in_the_configuration(configured: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(CONFIG + 'passcode = "4711-secret"\n')
    shown = configured("config", "show").stdout
    for secret in ("abc-defg-hij", "98765432101", "hidden", "4711-secret"):
        assert secret not in shown
    assert "zoom.us" in shown
