"""Looks at the pool from outside its parts: systemctl, the journal, redis-cli, /proc, the host of a meeting."""

import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from lab.systemd.nspawn import Machine
from lab.systemd.report import FleetError
from worker.chromium import processes

T = TypeVar("T")

MANAGER: Final = "poolmgr"
AGENT: Final = "poolmgr-worker"
MIRROR: Final = "poolmgr-mirror"
STATE_DIR: Final = "/var/lib/poolmgr"

_POLL_S: Final = 0.2
_WRITABLE: Final = ("/tmp", "/var/tmp", "/dev/shm")
_PROFILE: Final = re.compile(rf" --user-data-dir={STATE_DIR}/workers/([^ /]+)/profile ")


class Access(NamedTuple):
    """What lets one in: Redis' password, and a token of the API."""

    password: str
    token: str

    @classmethod
    def new(cls) -> "Access":
        return cls(secrets.token_hex(16), f"pm_{secrets.token_urlsafe(32)}")


class Unit(NamedTuple):
    """`restarts`: how often systemd started it again."""

    active: str
    sub: str
    main_pid: int
    restarts: int
    result: str
    exit_code: int


class Browser(NamedTuple):
    """The first process of one Chromium. Its id and its start tick together are unique."""

    worker_id: str
    pid: int
    started_ticks: int


_CALL = """
import sys, urllib.request
token, path, body = sys.argv[1:]
headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
url = f"http://127.0.0.1:8080/api/v1/{path}"
print(urllib.request.urlopen(urllib.request.Request(url, body.encode() or None, headers), timeout=10).read().decode())
"""


class Inside:
    def __init__(self, machine: Machine, password: str, token: str) -> None:
        self.machine = machine
        self._password = password
        self._token = token

    def unit(self, name: str) -> Unit:
        wanted = ("ActiveState", "SubState", "MainPID", "NRestarts", "Result", "ExecMainStatus")
        shown = self.machine.do("systemctl", "show", f"--property={','.join(wanted)}", name)
        facts = dict(line.split("=", 1) for line in shown.splitlines())
        active, sub, pid, restarts, result, code = (facts[name] for name in wanted)
        return Unit(active, sub, int(pid), int(restarts), result, int(code))

    def events(self, unit: str, event: str = "") -> list[dict[str, Any]]:
        """What the unit's program has logged, oldest first."""
        found: list[dict[str, Any]] = []
        for line in self.machine.do("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").splitlines():
            if line.startswith("{"):
                entry: dict[str, Any] = json.loads(line)
                if not event or entry.get("event") == event:
                    found.append(entry)
        return found

    def journal_end(self, unit: str) -> list[str]:
        return self.machine.do("journalctl", "--no-pager", "--lines=25", f"--unit={unit}").splitlines()

    def redis(self, *command: str) -> str:
        return self.machine.do("env", f"REDISCLI_AUTH={self._password}", "redis-cli", *command)

    def push(self, bot_id: str, link: str) -> None:
        job = json.dumps({"meeting_link": link, "bot_id": bot_id, "bot_name": bot_id})
        self.redis("LPUSH", "poolmgr:jobs", job)

    def call(self, path: str, document: dict[str, str] | None = None) -> dict[str, Any]:
        """Call the HTTP API: POST with a document, GET without. Raises: FleetError when it is refused."""
        return self.call_as(self._token, path, document)

    def call_as(self, token: str, path: str, document: dict[str, str] | None = None) -> dict[str, Any]:
        """Call it as another client."""
        body = "" if document is None else json.dumps(document)
        return json.loads(self.machine.do("python3", "-c", _CALL, token, path, body))

    def bot(self, bot_id: str) -> dict[str, str]:
        words = self.redis("HGETALL", f"poolmgr:bot:{bot_id}").splitlines()
        return dict(zip(words[::2], words[1::2], strict=False))

    def status(self, name: str) -> str:
        """The line that `systemctl status` shows."""
        return self.machine.do("systemctl", "show", "--property=StatusText", "--value", name)

    def all_bots(self) -> list[str]:
        return self.redis("ZRANGE", "poolmgr:bots:all", "0", "-1").split()

    def tree(self) -> list[processes.Process]:
        """All processes of all browsers."""
        return [
            process
            for process in self.machine.processes()
            if "/chromium" in processes.command_line(process.pid).split(" ")[0]
        ]

    def browsers(self) -> list[Browser]:
        found: list[Browser] = []
        for process in self.tree():
            words = f"{processes.command_line(process.pid)} "
            if " --type=" not in words and (worker := _PROFILE.search(words)):
                found.append(Browser(worker[1], process.pid, process.started_ticks))
        return sorted(found)

    def renderers(self) -> list[int]:
        return [
            process.pid for process in self.tree() if " --type=renderer " in f"{processes.command_line(process.pid)} "
        ]

    def is_sandboxed(self, pid: int) -> bool:
        """Whether it has namespaces of its own, and a seccomp filter that its browser has not."""
        other = all(namespace(pid, kind) != namespace(self.machine.leader, kind) for kind in ("user", "pid", "net"))
        [filters] = status(pid, "Seccomp_filters")
        browser = next(browser for browser in self.browsers() if _profile(browser.pid) == _profile(pid))
        return other and int(filters) > int(status(browser.pid, "Seccomp_filters")[0])

    def leave_marks(self, browser: Browser) -> None:
        """Write files outside of the browser's folder, as its user and where it sees them. Raises: FleetError."""
        if lost := [place for place in _WRITABLE if self._as_browser(browser, f"touch {place}/{browser.worker_id}")]:
            raise FleetError(f"browser {browser.pid} cannot write to {', '.join(lost)}")

    def marks_lost(self, browser: Browser) -> list[str]:
        """Which of these files the browser can no longer see or write."""
        seen = "test -e {0}/{1}; touch {0}/{1}-more"
        return [place for place in _WRITABLE if self._as_browser(browser, seen.format(place, browser.worker_id))]

    def _as_browser(self, browser: Browser, commands: str) -> int:
        """The exit code of a command in the browser's mount namespace, which is that of the agent that started it."""
        [uid, *_], [gid, *_] = status(browser.pid, "Uid"), status(browser.pid, "Gid")
        become = ("nsenter", f"--target={browser.pid}", "--mount", f"--setuid={uid}", f"--setgid={gid}", "--")
        return subprocess.run((*become, "sh", "-ec", commands), capture_output=True, timeout=20, check=False).returncode

    def worker_folders(self) -> list[str]:
        found = self.machine.ask("find", f"{STATE_DIR}/workers", "-mindepth", "1", "-maxdepth", "1").stdout
        return [Path(line).name for line in found.splitlines()]

    def attendance(self, meeting: str) -> list[str]:
        """Who came and went, as the meeting room told its host."""
        report = self.machine.do("journalctl", "--no-pager", "--output=cat", f"--unit=host-{meeting}")
        return [line for line in report.splitlines() if line.startswith(("came: ", "went: ")) and line != "came: Host"]


def until(seconds: float, what: str, found: Callable[[], T | None]) -> T:
    """Wait for a true answer of `found`, and return it. Raises: FleetError with `what` when that takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        if result := found():
            return result
        if time.monotonic() > deadline:
            raise FleetError(f"{what}: not within {seconds:.0f} s")
        time.sleep(_POLL_S)


def throughout(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it holds at every look for this long. So a short fault is noticed, too."""
    deadline = time.monotonic() + seconds
    while holds():
        if time.monotonic() > deadline:
            return True
        time.sleep(_POLL_S)
    return False


def status(pid: int, name: str) -> Sequence[str]:
    """The words after that name in /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.split()[1:]
    raise FleetError(f"/proc/{pid}/status has no {name}")


def namespace(pid: int, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def _profile(pid: int) -> str:
    found = _PROFILE.search(f"{processes.command_line(pid)} ")
    return found[1] if found else ""
