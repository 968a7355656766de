"""A Debian 12 as a folder: it is built once and kept, and each run gets a throw-away copy over it.

    CACHE/tree-KIND-KEY/   never changes: Debian, and what the steps install by apt
    CACHE/pip/             downloads of pip
    CACHE/run-*/           one run: its layer over the tree, its copy of the checkout, logs. Removed at its end

Mounts are made in the mount namespace of this process (`python -m lab.systemd` begins with one), so none outlives it.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.systemd import host, nspawn
from lab.systemd.host import Carried, Source
from lab.systemd.report import FleetError, Report

SOURCE: Final = "/mnt/poolmgr"
"""Where the checkout is seen inside."""

APT_OPTIONS: Final = "90poolmgr-fleet"
"""The file in /etc/apt/apt.conf.d that says how this machine fetches."""

CACHE_VARIABLE: Final = "POOLMGR_FLEET_CACHE"
CACHE: Final = "/var/cache/poolmgr-fleet"

_DEBOOTSTRAP_S: Final = 900.0
_INSTALL_S: Final = 900.0
_ROOM_BYTES: Final = 4 * 2**30
_NOT_SOURCE: Final = (".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "/build", "/dist")


class Tree:
    """A Debian with the packages of `base` and what `apt_commands` install, the same for all runs of a kind."""

    def __init__(
        self, cache: Path, kind: str, base: Sequence[str], apt_commands: Sequence[str], report: Report
    ) -> None:
        self._cache = cache
        self._kind = kind
        self._base = base
        self._apt_commands = apt_commands
        self._report = report
        words = "\n".join((host.SUITE, *base, *apt_commands))
        self._path = cache / f"tree-{kind}-{hashlib.sha256(words.encode()).hexdigest()[:12]}"

    def build(self, sources: Sequence[Source], options: str, carried: Carried, *, fresh: bool) -> Path:
        """The folder; it is built if it does not exist. Raises: FleetError."""
        if fresh:
            shutil.rmtree(self._path, ignore_errors=True)
        if self._path.is_dir():
            self._report.heading(f"Debian 12 is there: {self._path}")
            return self._path
        for old in [*self._cache.glob(f"tree-{self._kind}-*"), *self._cache.glob("partial-*")]:
            shutil.rmtree(old)
        if shutil.disk_usage(self._cache).free < _ROOM_BYTES:
            raise FleetError(f"cannot build a Debian in {self._cache}: less than 4 GiB free there")
        self._report.heading(f"building Debian 12 in {self._path}, once; some minutes")
        partial = self._cache / f"partial-{self._path.name}"
        log = self._cache / "debootstrap.log"
        self._report.line(f"debootstrap {sources[0].suite}, log in {log}")
        bootstrap = ("debootstrap", "--variant=minbase", f"--include={','.join(self._base)}")
        with log.open("wb") as lines:
            done = subprocess.run(
                (*bootstrap, sources[0].suite, partial, sources[0].uri),
                env=os.environ | host.proxies_of_apt(options),
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=lines,
                timeout=_DEBOOTSTRAP_S,
                check=False,
            )
        if done.returncode:
            raise FleetError(f"cannot build a Debian: debootstrap ended with {done.returncode}; {log} says why")
        configure_apt(partial, sources, options)
        for command in ("apt-get update", *self._apt_commands) if self._apt_commands else ():
            self._install(partial, command, carried)
        self._install(partial, "apt-get clean", carried)
        partial.rename(self._path)
        return self._path

    def _install(self, root: Path, command: str, carried: Carried) -> None:
        self._report.line(command)
        nspawn.run(root, command, binds=carried.binds, environment=carried.environment, timeout_s=_INSTALL_S)


def configure_apt(root: Path, sources: Sequence[Source], options: str) -> None:
    """Make its apt fetch packages as this machine's does. It does not sync to the disk, because nothing there has to
    survive a failure.
    """
    apt = root / "etc" / "apt"
    (apt / "sources.list").write_text("".join(f"{source}\n" for source in sources))
    (apt / "apt.conf.d" / APT_OPTIONS).write_text(f'{options}\nDPkg::Options:: "--force-unsafe-io";\n')


def cache_folder() -> Path:
    return Path(os.environ.get(CACHE_VARIABLE) or CACHE)


@contextmanager
def kept(cache: Path) -> Generator[None]:
    """Lock the cache, and remove what a killed run left in it. Raises: FleetError."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FleetError(f"cannot use {cache}: another run uses it") from error
        for left in cache.glob("run-*"):
            shutil.rmtree(left)
        yield


@contextmanager
def layer(cache: Path, tree: Path) -> Generator[tuple[Path, Path]]:
    """A folder for this run, with a root that shows the tree until it is written to. Removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    root, upper, work = (folder / name for name in ("root", "upper", "work"))
    try:
        for path in (root, upper, work):
            path.mkdir(mode=0o755)
        mount = ("mount", "-t", "overlay", "-o", f"lowerdir={tree},upperdir={upper},workdir={work}", "overlay", root)
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        if not mounted:
            root.rmdir()
            subprocess.run(("cp", "-a", "--reflink=auto", tree, root), check=True)
        try:
            yield folder, root
        finally:
            if mounted:
                subprocess.run(("umount", "--lazy", root), check=True)
    finally:
        shutil.rmtree(folder)


def copy_source(checkout: Path, to: Path) -> None:
    """Copy the checkout as it is now, without its build results."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        at_top = Path(folder) == checkout
        patterns = [pattern.lstrip("/") for pattern in _NOT_SOURCE if at_top or not pattern.startswith("/")]
        return set(shutil.ignore_patterns(*patterns)(folder, names))

    shutil.copytree(checkout, to, ignore=ignored, symlinks=True)
