"""A VM that is lost in the middle of a recording: its machine is cut off from power, its disk is gone. Another VM makes
the files of what is in the store.

The second machine is booted beside the first, on its network, so that both reach Redis, the room and the store.
"""

from pathlib import Path
from typing import Any, Final

from lab.systemd import amazon, nspawn, tree
from lab.systemd.checks import Checks
from lab.systemd.inside import AGENT, MANAGER, until

NAME: Final = "poolmgr-second"
_BOT: Final = "lost"
_LOST_AFTER_S: Final = 15
_SETTLE_S: Final = 60.0
_RECORDED_S: Final = 90.0
_MADE_S: Final = 150.0
_AWAITED: Final = "poolmgr:recordings:due"
_SEGMENTS: Final = 3


class Lost(Checks):
    """Begins and ends with manager and agent stopped."""

    def lose(self, root: Path, cache: Path, binds: dict[str, str]) -> None:
        """`root`: what both machines are layers over. Raises: FleetError."""
        self._bots.clear()
        with self._report.part("a VM that is lost with its disk, in the middle of a recording"):
            try:
                self._lose(root, cache, binds)
            finally:
                self._machine.ask("systemctl", "stop", f"host-{_BOT}", AGENT, MANAGER, timeout_s=_SETTLE_S)
                self._machine.ask("rm", "/etc/poolmgr/environment")

    def _lose(self, root: Path, cache: Path, binds: dict[str, str]) -> None:
        self._machine.do("sh", "-c", 'printf %s "$1" >/etc/poolmgr/environment', "sh", _environment())
        self._machine.do("systemctl", "start", MANAGER, timeout_s=_SETTLE_S)
        with tree.layer(cache, root) as (folder, disk):
            _prepare(disk)
            with nspawn.booted(disk, NAME, folder / "boot.log", binds, beside=self._machine) as second:
                second.do("systemctl", "start", AGENT, timeout_s=_SETTLE_S)
                self._enter(_BOT)
                vm_id = self._inside.bot(_BOT).get("vm_id", "")
                self._report.check("a bot is in its meeting from a second machine", vm_id == NAME, vm_id)
                stored = until(_RECORDED_S, "its sound is in the store", self._segments)
                self._report.check("its sound is in the store while it goes on", True, f"{len(stored)} segments")
                self._machine.do("systemctl", "start", AGENT, timeout_s=_SETTLE_S)
                until(_SETTLE_S, "the first machine's pool is full", self._is_full)
        self._report.line("the second machine is killed, its disk removed")
        reason = until(_SETTLE_S + _LOST_AFTER_S, "the bot has ended", lambda: self._reason(_BOT))
        self._report.check("its bot ends, and why is said", reason == "heartbeat_timeout", reason)
        due = self._inside.redis("ZSCORE", _AWAITED, _BOT)
        self._report.check("the files are waited for", bool(due), f"until {due}")
        self._report.line("# ZADD: as if its ten minutes were over")
        self._inside.redis("ZADD", _AWAITED, "1", _BOT)
        manifest = until(_MADE_S, "the files are in the store", self._manifest)
        audio: dict[str, Any] = manifest.get("audio") or {}
        causes: list[str] = [gap["cause"] for gap in manifest["gaps"]]
        names = self._cloud.objects()
        good = (
            f"{self._folder}/{audio.get('path')}" in names
            and audio.get("duration_s", 0.0) > 5.0
            and "vm_lost" in causes
        )
        seen = f"{audio.get('duration_s', 0.0):.1f} s of sound, gaps: {', '.join(causes)}"
        self._report.check("the other machine makes them of what is there, and says what is not", good, seen)
        status = until(_SETTLE_S, "the record says so", lambda: self._is("processed"))
        taken = self._count("recording_taken_over")
        self._report.check(
            "once, and the record says so", taken == 1, f"audio_status {status}, taken over {taken} times"
        )

    @property
    def _folder(self) -> str:
        """Of the latest attempt. The first may be the first machine's, whose agent the manager misses only later."""
        return f"{_BOT}/{self._inside.bot(_BOT).get('attempt')}"

    def _segments(self) -> list[str]:
        folder = self._folder
        found = [name for name in self._cloud.objects() if name.startswith(f"{folder}/segment-")]
        return found if len(found) >= _SEGMENTS else []

    def _manifest(self) -> Any:
        name = f"{self._folder}/manifest.json"
        return self._cloud.json_object(name) if name in self._cloud.objects() else None

    def _is(self, audio_status: str) -> str:
        status = self._inside.bot(_BOT).get("audio_status", "")
        return status if status == audio_status else ""


def _environment() -> str:
    """The store, and less patience with a VM that is silent, for both machines."""
    options = {
        "endpoint": amazon.ADDRESS,
        "region": amazon.REGION,
        "allow_http": "true",
        "access_key_id": amazon.KEYS["AWS_ACCESS_KEY_ID"],
        "secret_access_key": amazon.KEYS["AWS_SECRET_ACCESS_KEY"],
    }
    table = ", ".join(f"{name} = '{value}'" for name, value in options.items())
    return (
        f"POOLMGR_CAPTURE__STORE=s3://{amazon.BUCKET}\n"
        f'POOLMGR_CAPTURE__STORE_OPTIONS="{{ {table} }}"\n'
        f"POOLMGR_POOL__LOST_AFTER_S={_LOST_AFTER_S}\n"
    )


def _prepare(disk: Path) -> None:
    """A name of its own, and no Redis: that of the first machine is on the same network."""
    (disk / "etc/hostname").write_text(f"{NAME}\n")
    (disk / "etc/poolmgr/environment").write_text(_environment())
    redis = disk / "etc/systemd/system/redis-server.service"
    redis.unlink(missing_ok=True)
    redis.symlink_to("/dev/null")
