"""`./dev fresh`: both commands of the README on a machine that has nothing.

A debootstrapped Debian 12 with git, python3 and ca-certificates, a clone of what is committed in a path with a space,
and an index that offers a newer release of everything that is pinned.
"""

import re
import shlex
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import click

from lab.systemd import host, newer, nspawn, program, tree
from lab.systemd.report import FleetError, Report
from lab.systemd.set_up import BEING_TRIED, HELD, NOT_PASSED, RECORD, Tried, digest, write_record
from requirements import locks

CHECKOUT: Final = Path(__file__).resolve().parents[2]
CLONE: Final = "/root/a new clone"

_BASE: Final = ("git", "python3", "ca-certificates")
_SOURCE: Final = "/mnt/source.git"
_NEWER: Final = "/mnt/newer"
_CUT_OFF_S: Final = (2, 9, 21)
"""A set-up is killed after each of these times, and the next one has to go on: about when lists of packages are read,
when packages are fetched, and when they are unpacked.
"""
_FEW_TESTS: Final = "tests/requirements"
_LAST_LINES: Final = 30
"""Of tests that did not pass: they say why, also where none failed, as for want of coverage."""
_STEP_S: Final = 1800.0
_AT_ONCE_S: Final = 10.0
_EXIT_CODE: Final = "the tests did not pass: exit code"
_COLOURS: Final = re.compile("\x1b\\[[0-9;]*m")
_HEADING: Final = re.compile(r"== (.+)")


class Fetching(NamedTuple):
    """The new machine fetches packages as this one does."""

    sources: list[host.Source]
    options: str
    carried: host.Carried


class _Said(NamedTuple):
    took_s: float
    apt_s: float
    text: str


class Fresh:
    """One new machine, and what is tried on it."""

    def __init__(self, root: Path, folder: Path, carried: host.Carried, report: Report) -> None:
        self._root = root
        self._folder = folder
        self._report = report
        index = f"{carried.environment.get('PIP_EXTRA_INDEX_URL', '')} file://{_NEWER}".strip()
        self._environment = {**carried.environment, "PIP_EXTRA_INDEX_URL": index, BEING_TRIED: "1"}
        self._binds = {**carried.binds, str(folder / "source.git"): _SOURCE, str(folder / "newer"): _NEWER}

    def prepare(self) -> None:
        for lock in locks.LOCKS:
            newer.make_index(self._folder / "newer", locks.read(locks.FOLDER / lock))
        self._do(
            "grep -qs localhost /etc/hosts || echo 127.0.0.1 localhost >>/etc/hosts", folder="/root"
        )  # as installers do it
        self._do(f"git clone -q {_SOURCE} {shlex.quote(CLONE)}", folder="/root")

    def both_commands(self, test: str) -> Tried:
        """Try both commands. Raises: FleetError when the demo fails. Failed tests are only counted."""
        self._report.heading("./dev demo --once")
        demo = self._do("./dev demo --once")
        took = f"{demo.took_s:.0f} s, of these {demo.apt_s:.0f} s apt"
        self._report.check("./dev demo --once keeps its promises", "the pool came back" in demo.text, took)
        self._report.heading(test)
        tests = self._do(f"{test} || echo '{_EXIT_CODE}' $?")
        closing = [line.strip(" =") for line in tests.text.splitlines() if re.search(r"\d+ passed", line)]
        said = closing[-1] if closing else "no closing line"
        for line in re.findall(r"^(?:FAILED|ERROR) .*", tests.text, re.MULTILINE):
            self._report.line(line)
        passed = bool(closing) and _EXIT_CODE not in tests.text
        if not passed:
            for line in tests.text.splitlines()[-_LAST_LINES:]:
                self._report.line(line)
        self._report.check(f"{test} passes", passed, said)
        self.pins("dev.txt", f"{CLONE}/.venv")
        again = self._do("./dev setup")
        self._report.check(
            "a set-up that has nothing to do is quick", again.took_s < _AT_ONCE_S, f"{again.took_s:.1f} s"
        )
        return Tried(demo.took_s, demo.apt_s, tests.took_s, said if passed else f"{said}, {NOT_PASSED}")

    def cut_off(self) -> None:
        for seconds in _CUT_OFF_S:
            said = self._do(f"timeout --signal=KILL {seconds} ./dev setup || true")
            self._report.line(f"killed after {seconds} s: {said.text.strip().splitlines()[-1]}")
        self._do("./dev setup")
        said = self._do(f"./dev test {_FEW_TESTS}")
        closing = said.text.splitlines()[-1].strip(" =")
        self._report.check("a set-up that was killed goes on", "passed" in closing, closing)
        self.pins("dev.txt", f"{CLONE}/.venv")

    def pip_alone(self) -> None:
        """Install the locks with Debian's pip."""
        for lock, venv in (("run.txt", "/opt/run"), ("dev.txt", "/opt/dev")):
            command = f"{venv}/bin/pip install -q --require-hashes -r requirements/{lock}"
            said = self._do(f"python3 -m venv {venv} && {command}")
            self._report.line(f"{command}: {said.took_s:.0f} s")
            self.pins(lock, venv)

    def pins(self, lock: str, venv: str) -> None:
        """Check that the pinned releases are installed, although newer ones are out."""
        pins = {name: pin.version for name, pin in locks.read(locks.FOLDER / lock).items() if pin.applies}
        listed = self._do(f"{shlex.quote(venv)}/bin/python -m pip list --format=freeze").text
        there = dict(re.findall(r"^([\w.-]+)==(\S+)$", listed, re.MULTILINE))
        installed = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in there.items()}
        other = {name: installed.get(name) for name, version in pins.items() if installed.get(name) != version}
        self._report.check(
            f"{lock}: still the pinned releases", not other, f"{len(pins)} packages" if not other else str(other)
        )

    def _do(self, command: str, *, folder: str = CLONE) -> _Said:
        """Carry out a command there. Raises: FleetError."""
        began = time.monotonic()
        headings: list[tuple[str, float]] = []

        def heard(line: str) -> None:
            plain = _COLOURS.sub("", line)
            if heading := _HEADING.match(plain):
                headings.append((heading[1], time.monotonic()))
                self._report.line(heading[1])

        text = nspawn.run(
            self._root,
            command,
            binds=self._binds,
            environment=self._environment,
            folder=folder,
            timeout_s=_STEP_S,
            heard=heard,
        )
        ended = time.monotonic()
        ends = [*(at for _, at in headings[1:]), ended]
        apt_s = sum(end - at for (what, at), end in zip(headings, ends, strict=False) if "system packages" in what)
        return _Said(ended - began, apt_s, text)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--fresh", is_flag=True, help="Build the Debian anew, too.")
@click.option("--quick", is_flag=True, help="Not all tests, only those of the locks; nothing is written down.")
def main(fresh: bool, quick: bool) -> None:
    """Try ./dev demo --once and ./dev test on a machine that has nothing, and write down in docs/set-up.md that it was.

    A debootstrapped Debian 12 with git, python3 and ca-certificates; a clone of HEAD in a path with a space; an index
    that offers a newer release of every pinned package. Then, on another such machine, a set-up that is killed three
    times, and Debian's own pip alone.

    Needs root, and about ten minutes. The Debian is kept in /var/cache/poolmgr-fleet (or POOLMGR_FLEET_CACHE) for the
    next run; all else is gone afterwards. Package servers, proxies and certificates are those of this machine.
    """
    program.carry_out("lab.systemd.fresh", "fresh", lambda report: _run(report, fresh=fresh, quick=quick))


def _run(report: Report, *, fresh: bool, quick: bool) -> None:
    fetching = Fetching(host.sources(), host.apt_options(), host.carried())
    if changed := _git("status", "--porcelain"):
        raise FleetError(f"cannot try what is not committed:\n{changed}")
    cache = tree.cache_folder()
    with tree.kept(cache):
        base = tree.Tree(cache, "fresh", _BASE, [], report).build(*fetching, fresh=fresh)
        with _machine(cache, base, fetching, report) as machine:
            tried = machine.both_commands(f"./dev test {_FEW_TESTS}" if quick else "./dev test")
        if not quick:
            _write(report, tried, "not tried yet")
        with _machine(cache, base, fetching, report) as machine:
            report.heading("./dev setup, killed and begun again")
            machine.cut_off()
            report.heading("pip alone, as systemd/README.md has it")
            machine.pip_alone()
    if not quick:
        _write(report, tried, f"not all held: {report.failed}" if report.failed else HELD)


def _write(report: Report, tried: Tried, rest: str) -> None:
    write_record(CHECKOUT / RECORD, digest(CHECKOUT), datetime.now(UTC).date(), tried, rest)
    report.heading(f"written down in {RECORD}")


@contextmanager
def _machine(cache: Path, base: Path, fetching: Fetching, report: Report) -> Generator[Fresh]:
    with tree.layer(cache, base) as (folder, root):
        _git("clone", "-q", "--bare", ".", str(folder / "source.git"))
        tree.configure_apt(root, fetching.sources, fetching.options)
        machine = Fresh(root, folder, fetching.carried, report)
        machine.prepare()
        yield machine


def _git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise FleetError(f"cannot do: git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
