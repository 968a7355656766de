"""Checks what on this VM keeps bots from joining (`poolmgr-worker doctor`): browser, sandbox, memory, fonts, network.

It warms one worker in a folder of its own, removes it afterwards, and touches nothing of an agent that runs here.
"""

import math
import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from playwright._impl._driver import compute_driver_executable

from common.config.settings import CaptureSettings, PoolSettings, Settings, WorkerSettings
from common.runtime.cli.text import duration
from common.runtime.doctor import network, redis
from common.runtime.doctor.checks import Check, Found, beside, error, ok, skipped, warning
from common.runtime.doctor.machine import available_mb, cgroup_limit, disk, open_files
from common.wire.messages import WorkerGone
from common.wire.vocabulary import GoneCause
from worker.chromium import processes
from worker.chromium.accounts import AccountError, read
from worker.chromium.display import RECORDING_PROGRAMS, find_recording_programs, find_xvfb
from worker.chromium.driver import START_DEADLINE_S, STOP_DEADLINE_S, DriverError
from worker.chromium.process import BrowserError, Launcher, find_chromium
from worker.chromium.profile import Profile
from worker.pool.trial import warm_one

HOSTS: Final = {
    "google_meet": ("meet.google.com",),
    "zoom": ("app.zoom.us", "zoom.us"),
    "teams": ("teams.microsoft.com", "teams.live.com"),
    "jitsi": ("meet.jit.si",),
}
"""The hosts that a bot's browser loads first, by platform."""
SOUND_PRIORITY: Final = 8
"""The real-time priority that Chromium takes for its sound where it may."""

_TRIED: Final = "Chromium 156 was tried (Debian 12 has it in bookworm-security)"
_QUICK_S: Final = 5.0
_FFMPEG_S: Final = 10.0  # it loads a hundred libraries, at first from the disk
_SHM_LEAST_MB: Final = 65  # containers have 64 by default, and tabs with a meeting crash then
_SHM_WORKER_MB: Final = 64
_TASKS_WORKER: Final = 250
_FILES_WORKER: Final = 100
_DISK_WORKER_MB: Final = 50
_FONTS: Final = ("/usr/share/fonts", "/usr/local/share/fonts")
_SHM: Final = Path("/dev/shm")  # noqa: S108  # only its size is read
_MERGES_PROGRAMS: Final = (6, 4)  # the first kernel with PR_SET_MEMORY_MERGE
_FONT_FILES: Final = frozenset({".ttf", ".otf", ".ttc", ".pfb"})
_SANDBOX_POLL_S: Final = 0.05
_SIGN_IN_SOON_S: Final = 7 * 86400.0


def checks(settings: Settings) -> list[Check]:
    worker, pool = settings.worker, settings.pool
    trial = _Trial(worker, settings.capture)
    many = pool.max_workers
    warm_s = START_DEADLINE_S + worker.launch_timeout_s + STOP_DEADLINE_S
    return [
        Check("browser", warm_s, trial.warms, "see worker.launch_timeout_s"),
        Check("sandbox", worker.launch_timeout_s + 2 * _QUICK_S, trial.is_sandboxed),
        _quick("driver", driver),
        _quick("user namespaces", user_namespaces),
        _quick("display", lambda: _display(worker, settings.capture)),
        Check("recording", 2 * _FFMPEG_S + _QUICK_S, lambda: beside(lambda: _recording(settings.capture))),
        _quick("sound", lambda: sound_priority(settings.capture, resource.getrlimit(resource.RLIMIT_RTPRIO)[0])),
        _quick("accounts", lambda: _accounts(worker)),
        _quick("fonts", lambda: fonts(_FONTS)),
        _quick("shared memory", lambda: shared_memory(_SHM, worker, many)),
        _quick("memory", lambda: memory(available_mb(), worker, pool, displays=settings.capture.needs_display)),
        _quick("equal pages", lambda: equal_pages(os.uname().release)),
        _quick("processes", lambda: tasks(cgroup_limit("pids.max"), many)),
        open_files(1024, 1024 + _FILES_WORKER * many),
        disk(Path(worker.state_dir), 200, 500 + _DISK_WORKER_MB * many, "worker.state_dir"),
        *redis.checks(settings.redis),
        *(network.reaches(platform, host) for platform, hosts in _hosts(settings).items() for host in hosts),
        network.stun(worker.stun_server),
    ]


def _hosts(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The hosts to reach, with the Jitsi servers of the configuration. A server with a port of its own is left out:
    `poolmgr-worker probe` tries it.
    """
    own = tuple(host for host in settings.meetings.jitsi_hosts if ":" not in host)
    return HOSTS | {"jitsi": own or HOSTS["jitsi"]}


class _Trial:
    """Starts browsers as the agent does, in folders of their own."""

    def __init__(self, settings: WorkerSettings, capture: CaptureSettings) -> None:
        self._settings = settings
        self._capture = capture

    async def warms(self) -> Found:
        """Whether a worker becomes warm. A browser that starts is not enough: Playwright has to work with it, too."""
        with tempfile.TemporaryDirectory(prefix="poolmgr-doctor-") as folder:
            try:
                launcher = self._launcher(Path(folder))
                news = await warm_one(launcher, self._settings)
            except (BrowserError, FileNotFoundError) as fault:
                return error(str(fault), "install what is missing, or name a browser in worker.chromium")
            except DriverError as fault:
                return error(str(fault), "see driver")
        chromium = launcher.profile.chromium
        if not isinstance(news, WorkerGone):
            return ok(f"{chromium}: a worker is warm after {news.took_s:.1f} s")
        if news.cause is GoneCause.LOW_MEMORY:
            return error(news.detail, "see memory")
        version = await beside(lambda: version_of(chromium))
        todo = f"install what it lacks, or name another browser in worker.chromium: {_TRIED}"
        return error(f"no worker becomes warm with {chromium} ({version}): {news.detail}", todo)

    async def is_sandboxed(self) -> Found:
        """Whether the kernel confines the processes that hold pages."""
        if os.geteuid() == 0:
            todo = "ask as the agent's user: runuser -u poolmgr-worker -- poolmgr-worker doctor"
            return error("this is root, for whom Chromium has no sandbox", todo)
        with tempfile.TemporaryDirectory(prefix="poolmgr-doctor-") as folder:
            try:
                chromium = await self._launcher(Path(folder)).launch("doctor", display=True)
            except (BrowserError, FileNotFoundError):
                return skipped("no browser starts")
            try:
                return sandbox(await beside(lambda: of_pages(chromium.leader.pid)))
            finally:
                await chromium.kill()

    def _launcher(self, folder: Path) -> Launcher:
        """Raises: BrowserError, FileNotFoundError."""
        chromium = find_chromium(self._settings.chromium)
        recorded = Profile.recorded(chromium, self._settings, self._capture)
        return Launcher(Profile.of(chromium, self._settings), folder, recorded)


def version_of(chromium: Path) -> str:
    """What the browser says of itself."""
    try:
        said = subprocess.run((chromium, "--version"), capture_output=True, text=True, timeout=_QUICK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "of an unknown version"
    return said.stdout.strip()[:100] or "of an unknown version"


def driver() -> Found:
    """Whether Playwright's driver runs on this system, without which no agent starts."""
    node, _ = compute_driver_executable()
    try:
        done = subprocess.run((node, "--version"), capture_output=True, text=True, timeout=_QUICK_S / 2, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        return error(f"Playwright's driver does not start: {fault}", "install poolmgr anew")
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        return error(
            f"Playwright's driver does not start: {said}", "install the library that it names (libatomic1, say)"
        )
    return ok(f"Playwright's driver runs (Node.js {done.stdout.strip()})")


def of_pages(browser: int, within_s: float = _QUICK_S) -> list[tuple[bool, bool]]:
    """For each process that holds pages in the process group `browser`: whether it has its own namespaces, and whether
    it has a seccomp filter that the browser has not. A new process is not confined at once, so this waits up to
    `within_s` until all are.
    """
    found: list[tuple[bool, bool]] = []
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and not (found and all(map(all, found))):
        group = [process.pid for process in processes.scan() if process.group == browser]
        with suppress(FileNotFoundError, ProcessLookupError):  # a process may end meanwhile
            found = [_confined(pid, browser) for pid in group if processes.bears(pid, "--type=renderer")]
        time.sleep(_SANDBOX_POLL_S)
    return found


def _confined(pid: int, browser: int) -> tuple[bool, bool]:
    apart = all(_namespace(pid, kind) != _namespace(browser, kind) for kind in ("pid", "net"))
    return apart, _filters(pid) > _filters(browser)


def _namespace(pid: int, kind: str) -> str:
    """The id of a namespace. One that this user may not read is another process's own namespace."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except PermissionError:
        return "another"


def _filters(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("Seccomp_filters:"):
            return int(line.split()[1])
    return 0


def sandbox(pages: Sequence[tuple[bool, bool]]) -> Found:
    todo = (
        "let this user make user namespaces (see there), and no container take unshare, clone and chroot away by its"
        " seccomp profile; a hostile page has nothing else between itself and this machine"
    )
    if not pages:
        return error("no process for pages was seen", "poolmgr-worker probe LINK tells more")
    if not all(apart for apart, _ in pages):
        return error("pages have no namespaces of their own", todo)
    if not all(filtered for _, filtered in pages):
        return error("pages are behind no seccomp filter", todo)
    return ok("on: namespaces and a seccomp filter around pages")


def user_namespaces(proc: Path = Path("/proc")) -> Found:
    """Whether the kernel lets an ordinary user make user namespaces."""
    most = _number(proc / "sys/user/max_user_namespaces")
    if most == 0:
        return error("user.max_user_namespaces is 0", "sysctl user.max_user_namespaces=15000, and in /etc/sysctl.d")
    if _number(proc / "sys/kernel/unprivileged_userns_clone") == 0:
        return error(
            "kernel.unprivileged_userns_clone is 0", "sysctl kernel.unprivileged_userns_clone=1, and in /etc/sysctl.d"
        )
    if _number(proc / "sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
        todo = (
            "where `sandbox` is not ok: an AppArmor profile for the browser that worker.chromium names, with"
            " `flags=(unconfined)` and `userns,`, as Ubuntu has for Google's Chrome in /etc/apparmor.d/chrome"
        )
        return warning("AppArmor lets only programs with a profile make them (Ubuntu 23.10 and later)", todo)
    return ok("allowed" if most is None else f"allowed, {most} at most")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def shared_memory(folder: Path, worker: WorkerSettings, many: int) -> Found:
    if "--disable-dev-shm-usage" in worker.chromium_arguments:
        return ok("not used: --disable-dev-shm-usage")
    try:
        room = os.statvfs(folder)
    except FileNotFoundError:
        return error(f"there is no {folder}", f"mount a tmpfs there: mount -t tmpfs -o size=2g tmpfs {folder}")
    size_mb = room.f_blocks * room.f_frsize // 2**20
    return shared_memory_of(size_mb, many)


def shared_memory_of(size_mb: int, many: int) -> Found:
    want_mb = max(512, _SHM_WORKER_MB * many)
    todo = f"{want_mb} MB: mount -o remount,size={want_mb}m /dev/shm, or shm_size in a container"
    facts = f"{size_mb} MB at /dev/shm"
    if size_mb < _SHM_LEAST_MB:
        return error(facts, todo)
    return warning(facts, todo) if size_mb < want_mb else ok(facts)


def memory(available: int, worker: WorkerSettings, pool: PoolSettings, *, displays: bool = False) -> Found:
    """`displays`: pool.min_idle_display counts, each for its display's memory besides."""
    min_idle, with_display = pool.min_idle, pool.min_idle_display if displays else 0
    left = max(0, available - worker.memory_reserve_mb - with_display * worker.display_memory_mb)
    wanted = pool.idle_target(displays=displays)
    room = left // worker.worker_memory_mb
    facts = f"{available} MB available: room for {room} idle workers beside worker.memory_reserve_mb"
    facts += f", {with_display} of them with a display" if with_display else ""
    lower = f"pool.max_workers ({pool.max_workers}) and pool.min_idle ({min_idle})"
    todo = f"more memory, or lower {lower}" + (f" and pool.min_idle_display ({with_display})" if with_display else "")
    if room < max(1, wanted):
        return error(facts, todo)
    return warning(facts, todo) if room < pool.max_workers else ok(facts)


def tasks(limit: int | None, many: int) -> Found:
    """`limit`: pids.max of this process's control group, which may be another one than the agent's."""
    want = _TASKS_WORKER * many
    if limit is None:
        return ok("no limit of its control group")
    facts = f"{limit} processes and threads in this control group"
    return ok(facts) if limit >= want else warning(facts, f"TasksMax={want} at least in the unit of the agent")


def equal_pages(kernel: str, ksm: Path = Path("/sys/kernel/mm/ksm")) -> Found:
    """Whether the kernel can merge equal pages of all browsers, and does. docs/architecture.md says why it need not."""
    version = tuple(int(part) for part in re.findall(r"\d+", kernel)[:2])
    run = _number(ksm / "run")
    if run is None or version < _MERGES_PROGRAMS:
        return ok(f"kernel {kernel} cannot merge those of whole programs")
    return ok("merged for programs that ask for it" if run == 1 else "could be merged, and are not (ksm/run)")


def fonts(folders: Sequence[str]) -> Found:
    """Whether fonts are installed. Without them pages show boxes in place of letters."""
    files = [
        name
        for folder in folders
        for _, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix in _FONT_FILES
    ]
    if not files:
        return warning("no font is installed", "apt-get install fonts-liberation fonts-noto-core fonts-noto-cjk")
    return ok(f"{len(files)} files")


def _display(worker: WorkerSettings, capture: CaptureSettings) -> Found:
    if capture.needs_display and worker.headless:
        return ok('of workers for pictures only, by capture.video = "display": see recording')
    if worker.headless:
        return ok("none is needed: worker.headless")
    if worker.display == "virtual":
        try:
            return ok(f"virtual, by {find_xvfb()}")
        except FileNotFoundError as fault:
            return error(str(fault), "apt-get install xvfb")
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return ok("that of the environment")
    return error("worker.headless is false, and there is no display", 'worker.display = "virtual"')


def _recording(capture: CaptureSettings) -> Found:
    if not capture.store:
        return ok("nothing is recorded: capture.store")
    if not capture.needs_display:
        return ok("nothing more is needed: by a tab")
    todo = f"apt-get install {' '.join(RECORDING_PROGRAMS.values())}"
    try:
        ffmpeg = find_recording_programs()["ffmpeg"]
    except FileNotFoundError as fault:
        return error(str(fault), todo)
    return ffmpeg_can(ffmpeg, todo)


def sound_priority(capture: CaptureSettings, most: int) -> Found:
    """Whether the browser may give its sound real-time priority. `most`: by the limit of this process, which may be
    another one than the agent's; -1 is without end.
    """
    if not capture.store:
        return ok("nothing is recorded: capture.store")
    if os.geteuid() == 0 or most < 0 or most >= SOUND_PRIORITY:
        return ok("may have real-time priority")
    todo = f"LimitRTPRIO={SOUND_PRIORITY} in the unit of the agent, `ulimit -r {SOUND_PRIORITY}` in a shell of root"
    return warning("may have no real-time priority: it suffers first where processors are taken", todo)


def ffmpeg_can(ffmpeg: str, todo: str) -> Found:
    """Whether that ffmpeg was built with what recordings need: there are smaller ones."""
    known: set[str] = set()
    for what in ("-devices", "-encoders"):
        try:
            said = subprocess.run(
                (ffmpeg, "-hide_banner", what), capture_output=True, text=True, timeout=_FFMPEG_S, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired) as fault:
            return error(f"{ffmpeg} does not start: {fault}", todo)
        known |= {word for line in said.splitlines() for word in line.split()[1:2]}
    if missing := [name for name in ("pulse", "x11grab", "libopus", "libx264") if name not in known]:
        return error(f"{ffmpeg} was built without {' and '.join(missing)}", "use the ffmpeg of Debian or Ubuntu")
    return ok(f"from a virtual display, by {ffmpeg}")


def _accounts(worker: WorkerSettings) -> Found:
    soon: dict[str, float] = {}
    for account in worker.accounts:
        try:
            until = read(account).lasts_until
        except AccountError as fault:
            return error(str(fault), f"poolmgr-worker sign-in {account.name}")
        left_s = math.inf if until is None else until - time.time()
        if left_s <= 0:
            what = f"{account.name} is signed out: the last of its cookies is over, and bots join as guests"
            return error(what, f"poolmgr-worker sign-in {account.name}")
        if left_s < _SIGN_IN_SOON_S:
            soon[account.name] = left_s
    if soon:
        first = min(soon, key=lambda name: soon[name])
        what = f"{first} is signed out in {duration(soon[first])} at the latest, when the last of its cookies is over"
        return warning(what, f"poolmgr-worker sign-in {first}")
    return ok(f"{len(worker.accounts)} signed in" if worker.accounts else "none are configured")


def _quick(name: str, look: Callable[[], Found]) -> Check:
    async def looked() -> Found:
        return await beside(look)

    return Check(name, _QUICK_S, looked)
