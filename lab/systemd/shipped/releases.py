"""Tries two releases together on the booted machine. A program of an earlier release runs in its unit's place, for a
whole job; then it is upgraded during the next job.
"""

import subprocess
import time
from pathlib import Path
from typing import Final

from lab.systemd import nspawn
from lab.systemd.checks import MIN_IDLE, Checks
from lab.systemd.host import Carried
from lab.systemd.inside import AGENT, MANAGER, until
from lab.systemd.machine import CHECKOUT, STEP_S, build_wheel, guide
from lab.systemd.report import FleetError, Report

VENV: Final = "/opt/poolmgr/earlier"
CONFIG: Final = "/etc/poolmgr/earlier.toml"

_DAYS: Final = 3
_SETTLE_S: Final = 60.0
_MOUNTED: Final = "/mnt/earlier"
_PROGRAM: Final = {MANAGER: "poolmgr serve", AGENT: "poolmgr-worker run"}


def earlier_commit() -> str:
    """The newest tag; without tags the newest commit of some days ago; empty if there is neither."""
    return _git("describe", "--tags", "--abbrev=0") or _git("log", "-1", "--format=%h", f"--before={_DAYS} days ago")


def newest_of(commit: str, since: str) -> str:
    """The commit, if it is that one or came after it, and else that one."""
    done = subprocess.run(("git", "merge-base", "--is-ancestor", since, commit or since), cwd=CHECKOUT, check=False)
    return since if done.returncode else commit or since


def _git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode else done.stdout.strip()


def install(
    commit: str, venv: str, root: Path, folder: Path, downloads: Path, carried: Carried, report: Report
) -> None:
    """The earlier release's programs, in this venv, by their own lock. Raises: FleetError."""
    source = folder / Path(venv).name
    source.mkdir()
    packed = subprocess.run(("git", "archive", commit), cwd=CHECKOUT, capture_output=True, check=False)
    if packed.returncode:
        raise FleetError(f"cannot take commit {commit}: {packed.stderr.decode().strip()}")
    subprocess.run(("tar", "-x", "-C", source), input=packed.stdout, check=True)
    build_wheel(guide()[1], source, report)
    pip = f"{venv}/bin/pip install --quiet"
    command = f"python3 -m venv {venv}; {pip} --require-hashes -r requirements/run.txt; {pip} --no-deps dist/*.whl"
    report.line(f"# {command}")
    nspawn.run(
        root,
        command,
        binds={str(source): _MOUNTED} | carried.binds,
        writable={str(downloads): "/root/.cache/pip"},
        environment=carried.environment,
        folder=_MOUNTED,
        timeout_s=STEP_S,
    )


class Releases(Checks):
    """All checks, and then those of two releases, for which the earlier one has to be installed."""

    def beside_earlier(self, commit: str, *, alone: bool) -> None:
        """Try an earlier agent, then an earlier manager. `alone`: no other checks ran, so Redis and the room have to be
        started.
        """
        if alone:
            self.start()
            self._machine.do("systemctl", "stop", AGENT, MANAGER, timeout_s=_SETTLE_S)
        self._bots.clear()
        for name, other in ((AGENT, MANAGER), (MANAGER, AGENT)):
            with self._report.part(f"{name} of {commit} with {other} of this release"):
                self.beside(name, other)

    def beside(self, name: str, other: str) -> None:
        """A whole job with the earlier program, and its upgrade during the next job."""
        self._replace(name)
        self._machine.do("systemctl", "start", name, other, timeout_s=_SETTLE_S)
        until(_SETTLE_S, "the pool is full", self._is_full)
        whole, under = f"whole-{name}", f"under-{name}"
        began = time.monotonic()
        self._enter(whole)
        took = time.monotonic() - began
        self._machine.do("systemctl", "stop", f"host-{whole}")
        reason = until(_SETTLE_S, f"{whole} has ended", lambda: self._reason(whole))
        seen = f"in its meeting after {took:.1f} s, {reason}"
        self._report.check("a whole job", reason == "meeting_ended", seen)
        until(_SETTLE_S, "the pool is full again", self._is_full)
        self._enter(under)
        self._bots.append(under)
        until(_SETTLE_S, "the pool is full again", self._is_full)
        before, adopted, unit = self._calls(), self._count("worker_adopted"), self._inside.unit(name)
        self._machine.do("rm", f"/etc/systemd/system/{name}.service.d/earlier.conf")
        self._machine.do("systemctl", "daemon-reload")
        self._machine.do("systemctl", "reload" if name == AGENT else "restart", name, timeout_s=_SETTLE_S)
        self._restarted(name, unit.main_pid)
        if name == AGENT:
            self._expect_adopted(adopted, MIN_IDLE + 1)
        self._expect_unaware(before)
        went = self._inside.attendance(under)
        self._report.check("the meeting's host saw nothing of the upgrade", went == [f"came: {under}"], str(went))
        self._machine.do("systemctl", "stop", f"host-{under}")
        reason = until(_SETTLE_S, f"{under} has ended", lambda: self._reason(under))
        self._bots.remove(under)
        self._report.check("and the job ends as it would have", reason == "meeting_ended", reason)
        self._machine.do("systemctl", "stop", AGENT, MANAGER, timeout_s=_SETTLE_S)

    def _replace(self, name: str) -> None:
        """The earlier program did not notify systemd yet, and had its secrets from the environment."""
        url = self._machine.do("cat", "/etc/credstore/poolmgr.redis_url")
        drop_in = (
            f"[Service]\nType=exec\nWatchdogSec=0\nEnvironment=POOLMGR_REDIS__URL={url}\nExecStart=\n"
            f"ExecStart={VENV}/bin/{_PROGRAM[name]} --config {CONFIG}\n"
        )
        folder = f"/etc/systemd/system/{name}.service.d"
        self._machine.do("sh", "-c", f'mkdir -p {folder}; printf "%s" "$1" >{folder}/earlier.conf', "sh", drop_in)
        settings = f"[pool]\\nmin_idle = {MIN_IDLE}\\nmax_workers = 6\\n"
        self._machine.do("sh", "-c", f"printf '{settings}' >{CONFIG}; systemctl daemon-reload")
