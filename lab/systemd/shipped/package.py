"""`./dev deb --try`: the Debian package installed in a fresh Debian, upgraded under a call, removed and purged."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from lab.systemd import amazon, host, nspawn, program, tree
from lab.systemd.checks import Checks
from lab.systemd.inside import AGENT, MANAGER, MIRROR, Access, until
from lab.systemd.machine import CHECKOUT, NAME, configure, guide
from lab.systemd.report import FleetError, Report
from lab.systemd.shipped import bare

PACKAGES: Final = "/mnt/packages"
MIRROR_NEEDS: Final = (
    "/opt/poolmgr/venv/bin/python -m pip install --require-hashes -r /usr/share/poolmgr/requirements/sqs.txt"
)
CONFIG: Final = "/etc/poolmgr/config.toml"

_LATER: Final = "later.deb"
_STEP_S: Final = 900.0
_END_S: Final = 60.0
_NOT_OURS: Final = (
    "/proc",
    "/sys",
    "/mnt",
    "/tmp",
    "/var/log",
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/root",
    "/run/systemd",
)
"""Where the name of a purged package may still be found: logs, and files of dpkg, apt and systemd."""


class Packaged(Checks):
    """The promises of the fleet test that a package could break."""

    def run(self) -> None:
        """Try all parts. Raises: FleetError when nothing further can be tried."""
        self.start()
        self.sandbox()
        self.join()
        self.mirror()
        with self._report.part("an upgrade under a call: dpkg -i"):
            self.upgrade()
        with self._report.part("removed"):
            self.remove()
        with self._report.part("purged"):
            self.purge()

    def upgrade(self) -> None:
        """The upgrade starts a new agent and a new manager, and keeps browsers, bots and configuration."""
        before, config = self._calls(), self._machine.do("cat", CONFIG)
        agent, manager, mirror = (self._inside.unit(name) for name in (AGENT, MANAGER, MIRROR))
        adopted, handed = self._count("worker_adopted"), self._count("agent_handed_over")
        self._machine.do("dpkg", "-i", f"{PACKAGES}/{_LATER}", timeout_s=_STEP_S)
        now = self._inside.unit(MANAGER)
        good = now.active == "active" and now.main_pid != manager.main_pid
        self._report.check("the manager was restarted", good, f"pid {manager.main_pid}, then {now.main_pid}")
        now = self._inside.unit(MIRROR)
        good = now.active == "active" and now.main_pid != mirror.main_pid
        self._report.check("and the mirror", good, f"pid {mirror.main_pid}, then {now.main_pid}")
        _, took = self._restarted(AGENT, agent.main_pid)
        handed = self._count("agent_handed_over") - handed
        self._report.check("the agent hands over and is started again", handed == 1, f"after {took:.1f} s")
        self._expect_adopted(adopted, len(before.browsers))
        self._expect_unaware(before)
        kept = self._machine.do("cat", CONFIG) == config
        newer = "later" in self._machine.do("tail", "-n", "1", "/usr/share/poolmgr/config.example.toml")
        self._report.check("the configuration is kept, beside a newer example", kept and newer, CONFIG)

    def remove(self) -> None:
        """`apt remove` while a bot is in a call: it waits, as `systemctl stop` does."""
        removing = self._machine.begin("apt-get", "remove", "--yes", "poolmgr")
        until(_END_S, "the agent drains", lambda: self._inside.unit(AGENT).active == "deactivating")
        self._report.check("it waits for the call", self._in_meeting("bot-daily"), "bot-daily in_meeting")
        self._machine.do("systemctl", "stop", "host-daily")
        until(_END_S, "bot-daily has ended", lambda: self._reason("bot-daily"))
        code = removing.wait(_END_S)
        reason = self._reason("bot-daily")
        self._report.check("and is done when the host has ended it", code == 0 and reason == "meeting_ended", reason)
        tree = self._inside.tree()
        units = self._machine.ask("systemctl", "list-unit-files", "--no-legend", "poolmgr*").stdout.strip()
        left = self._machine.ask("test", "-e", "/opt/poolmgr").returncode == 0
        seen = f"{len(tree)} processes; unit files: {units or 'none'}"
        self._report.check("no process, no unit and no program is left", not (tree or units or left), seen)
        kept = self._machine.ask("test", "-s", CONFIG).returncode == 0
        self._report.check("its configuration and state are", kept, CONFIG)

    def purge(self) -> None:
        self._machine.do("dpkg", "--purge", "poolmgr", timeout_s=_STEP_S)
        self._machine.do("rm", f"/etc/apt/apt.conf.d/{tree.APT_OPTIONS}")  # files of this machine
        words = " -o ".join(f"-path {path}" for path in _NOT_OURS)
        found = self._machine.do("sh", "-c", rf"find / -xdev \( {words} \) -prune -o -name '*poolmgr*' -print")
        self._report.check("nothing bears its name any more", not found, found or "nothing")
        failed = self._machine.do("systemctl", "list-units", "--failed", "--plain", "--no-legend")
        self._report.check("and no unit has failed", not failed, failed or "none")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--fresh", is_flag=True, help="Build the Debian anew, too.")
def main(fresh: bool) -> None:
    """Install dist/poolmgr_*.deb in a fresh Debian 12 by apt, boot it, and try both units; upgrade, remove, purge.

    Needs root. The bare Debian is kept in /var/cache/poolmgr-fleet (or POOLMGR_FLEET_CACHE); all else is gone
    afterwards.
    """
    program.carry_out("lab.systemd.shipped.package", "deb --try", lambda report: _run(report, fresh=fresh))


def _run(report: Report, *, fresh: bool) -> None:
    packages = sorted((CHECKOUT / "dist").glob("poolmgr_*.deb"))
    if not packages:
        raise FleetError("cannot try a package that is not there: ./dev deb makes it")
    carried = host.carried()
    cache = tree.cache_folder()
    with tree.kept(cache):
        base = bare.build(cache, report, fresh=fresh)
        with tree.layer(cache, base) as (folder, root):
            packages_dir, source = folder / "packages", folder / "source"
            packages_dir.mkdir()
            package = packages_dir / packages[-1].name
            package.write_bytes(packages[-1].read_bytes())
            _repack(package, packages_dir / _LATER, folder / "unpacked")
            tree.copy_source(CHECKOUT, source)
            tree.configure_apt(root, host.sources(), host.apt_options())
            report.heading(f"apt install ./{package.name}, {package.stat().st_size / 2**20:.0f} MiB")
            for command in (
                "apt-get update",
                f"apt-get install --yes {PACKAGES}/{package.name}",
                "apt-get install --yes --no-install-recommends redis-server",
                MIRROR_NEEDS,
            ):
                report.line(f"# {command}")
                binds = {str(packages_dir): PACKAGES} | carried.binds
                nspawn.run(root, command, binds=binds, environment=carried.environment, timeout_s=_STEP_S)
            _look(root, report)
            access = Access.new()
            configure(root, access)
            report.heading(f"booting it: {NAME}")
            binds = {str(source): tree.SOURCE, str(packages_dir): PACKAGES}
            with (
                nspawn.booted(root, NAME, folder / "boot.log", binds) as machine,
                amazon.serving(machine, folder / "amazon.log") as cloud,
            ):
                units = (MANAGER, AGENT, MIRROR)
                idle = [machine.ask("systemctl", "is-active", unit).stdout.strip() for unit in units]
                disabled = [machine.ask("systemctl", "is-enabled", unit).stdout.strip() for unit in units]
                good = (idle, disabled) == (["inactive"] * 3, ["disabled"] * 3)
                seen = f"{', '.join(idle)}; {', '.join(disabled)}"
                report.check("three units, and nothing was started that nobody asked for", good, seen)
                checks = Packaged(machine, access, guide(), cloud, report)
                try:
                    checks.run()
                finally:
                    if report.failed or sys.exc_info()[0] is FleetError:
                        checks.last_words()


def _look(root: Path, report: Report) -> None:
    """The files that exist before anything is configured, and who may read them."""
    there = ["usr/bin/poolmgr", "usr/bin/poolmgr-worker", "opt/poolmgr/venv/bin/python", CONFIG.lstrip("/")]
    missing = [path for path in there if not (root / path).is_symlink() and not (root / path).exists()]
    users = {line.split(":")[0] for line in (root / "etc/passwd").read_text().splitlines()}
    good = not missing and {"poolmgr", "poolmgr-worker"} <= users
    report.check("both programs, their users and a configuration are there", good, str(missing or "all"))
    said = nspawn.run(
        root, "poolmgr version; runuser -u poolmgr-worker -- poolmgr-worker doctor --offline", timeout_s=120
    )
    report.check("poolmgr-worker doctor --offline finds nothing wrong", True, said.splitlines()[0])


def _repack(package: Path, later: Path, folder: Path) -> None:
    """The same package with a later version, and a changed example of a configuration."""
    _do("dpkg-deb", "--raw-extract", str(package), str(folder))
    control = folder / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    control.write_text("\n".join(f"{line}+later" if line.startswith("Version: ") else line for line in lines) + "\n")
    with (folder / "usr/share/poolmgr/config.example.toml").open("a") as example:
        example.write("# of a later release\n")
    _do("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(folder), str(later))


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_STEP_S, check=False)
    if done.returncode:
        raise FleetError(f"cannot do {' '.join(command[:2])}: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
