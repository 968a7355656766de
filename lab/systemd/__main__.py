"""`./dev fleet-test`: installs poolmgr in a fresh Debian as systemd/README.md says, boots it, and tries it scene by
scene. Exit code 0 only if every promise was seen to be kept.
"""

import logging
import sys
from pathlib import Path
from typing import Final

import click
import structlog

from lab.systemd import amazon, host, manual, nspawn, program, tree
from lab.systemd.fleet import fleet, scenes, upgrade
from lab.systemd.inside import Access
from lab.systemd.lost import Lost
from lab.systemd.machine import CHECKOUT, NAME, STEP_S, build_wheel, configure, guide
from lab.systemd.report import FleetError, Report
from lab.systemd.shipped import releases

_BASE: Final = ("systemd", "systemd-sysv", "dbus", "iproute2", "ca-certificates")
_REDIS: Final = "apt-get install --no-install-recommends redis-server"


_UNITS: Final = "units"
_RELEASES: Final = "releases"
_ON_ONE: Final = {
    _UNITS: "the units on one machine, by systemd/README.md; and a second machine that is lost in mid-recording",
    _RELEASES: "manager and agent each beside the release before of the other, for a whole job",
}
_TITLES: Final = _ON_ONE | {name: scene.title for name, scene in scenes.SCENES.items()}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--list", "show", is_flag=True, help="Print the scenes, and do nothing.")
@click.option("--scene", "names", type=click.Choice(list(_TITLES)), multiple=True, help="Only this. [default: all]")
@click.option("--fresh", is_flag=True, help="Build the Debian anew, too.")
@click.option(
    "--earlier", metavar="COMMIT", help="The release before. [default: the newest tag, or a commit of some days ago]"
)
def main(show: bool, names: tuple[str, ...], fresh: bool, earlier: str | None) -> None:
    """Install poolmgr in a fresh Debian 12 by the steps of systemd/README.md, boot it by systemd-nspawn, and try it,
    scene by scene: first the units on one machine, then a fleet of five machines on a network of their own.

    Needs root. The Debian is kept in /var/cache/poolmgr-fleet (or POOLMGR_FLEET_CACHE) for the next run; all else is
    gone afterwards. Package servers, proxies and certificates are those of this machine.
    """
    if show:
        for name, title in _TITLES.items():
            click.echo(f"{name:{max(map(len, _TITLES))}}  {title}")
        return
    wanted = [name for name in _TITLES if name in names or not names]
    program.carry_out("lab.systemd", "fleet-test", lambda report: _run(report, wanted, fresh, earlier))


def _run(report: Report, wanted: list[str], fresh: bool, earlier: str | None) -> None:
    sections = guide()
    steps = (CHECKOUT / "packer" / "provision" / "10-packages.sh").read_text().splitlines()
    apt = [line.strip() for line in steps if line.strip().startswith("apt-get install")]
    sources, options, carried = host.sources(), host.apt_options(), host.carried()
    cache = tree.cache_folder()
    with tree.kept(cache):
        base = tree.Tree(cache, "units", _BASE, [_REDIS, *apt], report).build(sources, options, carried, fresh=fresh)
        with tree.layer(cache, base) as (folder, root):
            source = folder / "source"
            tree.copy_source(CHECKOUT, source)
            report.heading("the steps of systemd/README.md, up to the boot")
            build_wheel(sections[1], source, report)
            tree.configure_apt(root, sources, options)
            downloads = cache / "pip"
            downloads.mkdir(exist_ok=True)
            for number in (2, 3, 4, 8):
                for command in sections[number].before_boot:
                    report.line(f"# {command}")
                    nspawn.run(
                        root,
                        command,
                        binds={str(source): tree.SOURCE} | carried.binds,
                        writable={str(downloads): "/root/.cache/pip"},
                        environment=carried.environment,
                        folder=tree.SOURCE,
                        timeout_s=STEP_S,
                    )
            before = releases.earlier_commit() if earlier is None else earlier
            commit = before if _RELEASES in wanted else ""
            beside = [(releases.VENV, commit)] if commit else []
            if scenes.UPGRADE in wanted:
                beside.append((upgrade.VENV, releases.newest_of(before, upgrade.SINCE)))
            for venv, of in beside:
                report.heading(f"programs of {of}, beside them")
                releases.install(of, venv, root, folder, downloads, carried, report)
            access = Access.new()
            configure(root, access)
            if any(name in _ON_ONE for name in wanted):
                _on_one(report, wanted, commit, sections, access, folder, root, cache)
            if on_fleet := [name for name in wanted if name in scenes.SCENES]:
                _on_fleet(report, on_fleet, access, folder, root, cache)


def _on_one(
    report: Report,
    wanted: list[str],
    commit: str,
    sections: dict[int, manual.Section],
    access: Access,
    folder: Path,
    root: Path,
    cache: Path,
) -> None:
    report.heading(f"booting it: {NAME}")
    binds = {str(folder / "source"): tree.SOURCE}
    with (
        # Not the root itself, over which another machine is a layer, too.
        tree.layer(cache, root) as (_, disk),
        nspawn.booted(disk, NAME, folder / "boot.log", binds) as machine,
        amazon.serving(machine, folder / "amazon.log") as cloud,
    ):
        state = machine.ask("systemctl", "is-system-running").stdout.strip()
        failed = machine.ask("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
        report.check("it boots", state == "running", f"systemctl is-system-running: {state} {failed}".strip())
        checks = releases.Releases(machine, access, sections, cloud, report)
        try:
            if _UNITS in wanted:
                checks.run()
                Lost(machine, access, sections, cloud, report).lose(root, cache, binds)
            if commit:
                checks.beside_earlier(commit, alone=_UNITS not in wanted)
        finally:
            if report.failed or sys.exc_info()[0] is FleetError:
                checks.last_words()
        took_s = machine.power_off()
        report.check("it powers off", took_s is not None, f"after {took_s:.1f} s" if took_s else "not in time")


def _on_fleet(report: Report, wanted: list[str], access: Access, folder: Path, root: Path, cache: Path) -> None:
    # What is beside the fleet says for itself that Redis is away, again and again: that is what is being tried.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    report.heading("booting five machines: managers, Redis and sentinels on three, agents on two")
    binds = {str(folder / "source"): tree.SOURCE}
    with fleet.fleet(root, cache, folder, binds, access.password, report) as whole:
        report.check("the fleet is whole", True, f"primary {whole.primary()}, leader {whole.leader()}")
        for name in wanted:
            scenes.play(name, whole)


if __name__ == "__main__":
    main()
