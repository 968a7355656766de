"""An agent's machine without room on its disk, and one without memory."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.wire import manifest
from common.wire.manifest import FINAL, Manifest
from lab.systemd.fleet import steps
from lab.systemd.fleet.calls import SETTLE_S, calls
from lab.systemd.fleet.computer import Computer
from lab.systemd.fleet.fleet import Fleet
from lab.systemd.inside import AGENT, STATE_DIR, throughout, until

_NAME: Final = "agent-2"
_DISK_MB: Final = 768
_FULL_S: Final = 15.0
_STORE: Final = "srv/recordings"
_RECORDED_S: Final = 10.0
_MADE_S: Final = 150.0
_TOLD: Final = "the disk of worker.state_dir takes nothing"
_MEMORY_MB: Final = 300
_HIT: Final = ("meeting_ended", "browser_crashed")
_EATER: Final = """
import time
kept = []
while True:
    kept.append(bytearray(10 * 2**20))
    time.sleep(0.1)
"""


def disk(fleet: Fleet) -> None:
    """The file system of the agent's state folder is full, with calls under way."""
    machine = fleet.computers[_NAME].machine
    with _own_disk(fleet), calls(fleet, "disk-full") as going:
        machine.ask("dd", "if=/dev/zero", f"of={STATE_DIR}/full", "bs=1M")
        left = machine.do("df", "--output=avail", STATE_DIR).split()[-1]
        fleet.report.check("its disk is full", left == "0", f"{left} KiB free of {_DISK_MB} MiB")
        held = throughout(_FULL_S, lambda: fleet.computers[_NAME].inside.unit(AGENT).active == "active")
        fleet.report.check("the agent goes on", held, f"for {_FULL_S:g} s")
        going.undisturbed()
        steps.a_whole_job(fleet, "disk-full-meanwhile")
        machine.do("rm", f"{STATE_DIR}/full")
        began = time.monotonic()
        fleet.await_whole()
        seen = f"{time.monotonic() - began:.1f} s after there was room"
        fleet.report.check("its pool is full again", True, seen)
        steps.a_whole_job(fleet, "disk-full-later", _NAME)
        going.undisturbed()


def recording(fleet: Fleet) -> None:
    """The same while a bot there records: what its disk does not take waits with the recorder."""
    machine = fleet.computers[_NAME].machine
    with _store(fleet) as store, _own_disk(fleet):
        with calls(fleet, "disk-recorded") as going:
            [bot_id] = [bot_id for bot_id in going.real if f"-{_NAME}-" in bot_id]
            folder = store / manifest.folder(bot_id, 1)
            until(SETTLE_S, "its sound is in the store", lambda: [*folder.glob("segment-*")])
            machine.ask("dd", "if=/dev/zero", f"of={STATE_DIR}/full", "bs=1M")
            until(SETTLE_S, "its story says so", lambda: _TOLD in fleet.story(bot_id))
            fleet.report.check("its disk is full, and its bot's story says so", True, _TOLD)
            time.sleep(_FULL_S)
            going.undisturbed()
            machine.do("rm", f"{STATE_DIR}/full")
            time.sleep(_RECORDED_S)
            going.undisturbed()
        made = until(_MADE_S, "its file is made", lambda: _made(folder))
        lasts_s = (made.ended_at or 0.0) - made.began_at
        duration_s = made.audio.duration_s if made.audio else 0.0
        whole = abs(lasts_s - duration_s) < 2.0 and not made.gaps
        gaps = ", ".join(gap.cause for gap in made.gaps) or "no gap"
        fleet.report.check("its file is whole", whole, f"{duration_s:.1f} s of {lasts_s:.1f} s, {gaps}")


@contextmanager
def _store(fleet: Fleet) -> Generator[Path]:
    """A folder on another disk of that machine, in which its agent keeps what it records from its next start on."""
    computer = fleet.computers[_NAME]
    environment = computer.disk / "etc/poolmgr/environment"
    may_write = computer.disk / f"etc/systemd/system/{AGENT}.service.d/store.conf"
    computer.machine.do("install", "-d", "-o", AGENT, "-m", "0700", f"/{_STORE}")
    environment.write_text(f"POOLMGR_CAPTURE__STORE=/{_STORE}\n")
    may_write.write_text(f"[Service]\nReadWritePaths=/{_STORE}\n")
    computer.machine.do("systemctl", "daemon-reload")
    try:
        yield computer.disk / _STORE
    finally:
        environment.unlink()
        may_write.unlink()
        computer.machine.do("systemctl", "daemon-reload")
        computer.machine.do("systemctl", "restart", AGENT, timeout_s=SETTLE_S)
        fleet.await_whole()


def _made(folder: Path) -> Manifest | None:
    path = folder / FINAL
    return manifest.decode(path.read_bytes()) if path.exists() else None


@contextmanager
def _own_disk(fleet: Fleet) -> Generator[None]:
    """A small one for the agent's state, empty at first. The agent is started on it, and again without it."""
    machine = fleet.computers[_NAME].machine
    machine.do("systemctl", "stop", AGENT, timeout_s=SETTLE_S)
    machine.do("mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", STATE_DIR)
    try:
        machine.do("systemctl", "start", AGENT, timeout_s=SETTLE_S)
        fleet.await_whole()
        yield
    finally:
        machine.ask("systemctl", "stop", AGENT, timeout_s=SETTLE_S)
        machine.do("umount", "--lazy", STATE_DIR)
        machine.do("systemctl", "start", AGENT, timeout_s=SETTLE_S)
        fleet.await_whole()


def memory(fleet: Fleet) -> None:
    """Another program takes all that is left, and the kernel ends others for it."""
    computer = fleet.computers[_NAME]
    with calls(fleet, "memory", of_each_agent=2) as going:
        before = computer.inside.unit(AGENT)
        # Whom it ends, the kernel chooses: it may be a page in its call.
        going.may_be_hit([bot_id for bot_id in going.real if f"-{_NAME}-" in bot_id], _HIT)
        with _little_memory(computer) as group:
            eats = ("systemd-run", "--quiet", "--collect", "--unit=eater", "--property=OOMScoreAdjust=-900")
            computer.machine.do(*eats, "python3", "-c", _EATER)
            try:
                until(SETTLE_S, "the kernel ends processes", lambda: _killed(group))
                computer.machine.do("systemctl", "kill", "-s", "STOP", "eater")
                steps.a_whole_job(fleet, "memory-meanwhile", "agent-1")
                time.sleep(_FULL_S)
            finally:
                computer.machine.do("systemctl", "kill", "-s", "KILL", "eater")
            killed = _killed(group)
        began = time.monotonic()
        unit = computer.inside.unit(AGENT)
        same = unit.main_pid == before.main_pid
        seen = f"{killed} processes; of the agent {unit.restarts} restarts"
        fleet.report.check("the kernel ended pages, not the agent", same and killed > 0, seen)
        fleet.await_whole()
        seen = f"{time.monotonic() - began:.1f} s after there was memory"
        fleet.report.check("its pool is full again", True, seen)
        steps.a_whole_job(fleet, "memory-later", _NAME)
        going.undisturbed()


@contextmanager
def _little_memory(computer: Computer) -> Generator[Path]:
    """No more than what it has taken and a little. Afterwards there is no limit."""
    group = computer.machine.memory_group()
    limit = group / "memory.limit_in_bytes"
    taken = int((group / "memory.usage_in_bytes").read_text())
    limit.write_text(str(taken + _MEMORY_MB * 2**20))
    try:
        yield group
    finally:
        limit.write_text("-1")


def _killed(group: Path) -> int:
    """How many processes the kernel has ended for want of memory."""
    words = (group / "memory.oom_control").read_text().split()
    return int(words[words.index("oom_kill") + 1])
