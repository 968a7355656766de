"""The manager as a service of systemd: ready, what it does, its watchdog, its reload."""

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import RedisServer
from tests.manager.conftest import Scene
from tests.notified import Notified
from tests.waiting import wait_until

TOKEN = 'tokens = [{{ name = "{name}", sha256 = "{digest}" }}]\n'


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Notified]:
    notified = Notified(tmp_path / "notify")
    yield notified
    notified.close()


def watched_by(systemd: Notified, seconds: float = 0.2) -> dict[str, str]:
    return {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": str(int(seconds * 1e6))}


def configured(file: Path, name: str, more: str = "") -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    file.write_text(f"[api]\n{TOKEN.format(name=name, digest=digest)}{more}")


async def status_of(api: str, token: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{api}/api/v1/bots", headers={"Authorization": f"Token {token}"}) as response,
    ):
        return response.status


async def test_it_is_ready_when_it_serves_and_says_that_it_leads(scene: Scene, systemd: Notified) -> None:
    manager = scene.manager(**watched_by(systemd))
    await wait_until(lambda: "STATUS=leads, epoch 1, 0 bots" in systemd.hear())
    assert "READY=1" in systemd.said
    await scene.push("one")
    await wait_until(lambda: "STATUS=leads, epoch 1, 1 bot" in systemd.hear())
    await wait_until(lambda: systemd.hear().count("WATCHDOG=1") > 3)
    manager.signal(signal.SIGTERM)
    await wait_until(lambda: "STOPPING=1" in systemd.hear())  # as systemd does: ten unread messages, and more are lost
    assert await manager.ended() == 0


async def test_without_redis_it_is_ready_all_the_same_and_its_watchdog_is_fed(
    durable_scene: Scene, own_redis: RedisServer, systemd: Notified
) -> None:
    own_redis.stop()
    durable_scene.manager(**watched_by(systemd))
    await wait_until(lambda: "READY=1" in systemd.hear())
    await wait_until(lambda: any(line.startswith("STATUS=stands by: ") for line in systemd.hear()))
    fed = systemd.said.count("WATCHDOG=1")
    await wait_until(lambda: systemd.hear().count("WATCHDOG=1") > fed)


async def test_a_standby_says_so(scene: Scene, systemd: Notified) -> None:
    scene.manager(**watched_by(systemd))
    await scene.until_led()
    before = systemd.hear().count("STATUS=stands by")
    scene.manager(**watched_by(systemd))
    # Whichever that is: on a busy machine the first one may be too late to go on leading.
    await wait_until(lambda: systemd.hear().count("STATUS=stands by") > before)


async def test_a_process_that_stands_still_feeds_no_watchdog(scene: Scene, systemd: Notified) -> None:
    manager = scene.manager(**watched_by(systemd))
    await wait_until(lambda: "WATCHDOG=1" in systemd.hear())
    manager.signal(signal.SIGSTOP)
    await wait_until(lambda: _is_stopped(manager.process.pid if manager.process else 0))
    fed = len(systemd.hear())
    await scene.push("one")  # something to do
    assert len(systemd.hear()) == fed
    manager.signal(signal.SIGCONT)
    await wait_until(lambda: len(systemd.hear()) > fed)


async def test_a_reload_takes_the_tokens_anew_and_a_bad_configuration_changes_nothing(
    scene: Scene, systemd: Notified, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    configured(file, "old")
    manager = scene.manager(POOLMGR_CONFIG=str(file), **watched_by(systemd))
    await scene.until_led()
    assert (await status_of(manager.api, "old"), await status_of(manager.api, "new")) == (200, 403)

    configured(file, "new", more="\n[pool]\nwarmups_at_once = 3\n")
    await _reload(manager.signal, systemd, times=1)
    assert (await status_of(manager.api, "old"), await status_of(manager.api, "new")) == (403, 200)

    file.write_text("[api]\ntokens = 7\n")
    await _reload(manager.signal, systemd, times=2)
    assert await status_of(manager.api, "new") == 200
    log = _logged(tmp_path)
    assert '"wait_for_restart":["pool.warmups_at_once"]' in log
    assert '"configuration_refused"' in log


def _logged(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("manager-*.log"))


async def _reload(send: object, systemd: Notified, *, times: int) -> None:
    """Until it was told that it is over, as `systemctl reload` does."""
    assert callable(send)
    send(signal.SIGUSR1)
    await wait_until(lambda: systemd.hear().count("READY=1") == times + 1)
    assert systemd.said.count("RELOADING=1") == times


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
