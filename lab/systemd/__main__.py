"""`./dev fleet-test`: installs poolmgr in a fresh Debian as systemd/README.md says, boots it, tries the units there.
Exit code 0 only if every promise was seen to be kept.
"""

import sys
from typing import Final

import click

from lab.systemd import amazon, host, nspawn, program, tree
from lab.systemd.inside import Access
from lab.systemd.lost import Lost
from lab.systemd.machine import CHECKOUT, NAME, STEP_S, build_wheel, configure, guide
from lab.systemd.report import FleetError, Report
from lab.systemd.shipped import releases

_BASE: Final = ("systemd", "systemd-sysv", "dbus", "iproute2", "ca-certificates")
_REDIS: Final = "apt-get install --no-install-recommends redis-server"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--fresh", is_flag=True, help="Build the Debian anew, too.")
@click.option(
    "--earlier", metavar="COMMIT", help="The release before. [default: the newest tag, or a commit of some days ago]"
)
@click.option("--only-earlier", is_flag=True, help="Of the checks, only those of two releases at once.")
def main(fresh: bool, earlier: str | None, only_earlier: bool) -> None:
    """Install poolmgr in a fresh Debian 12 by the steps of systemd/README.md, boot it by systemd-nspawn, and try all
    units: killed, reloaded, upgraded, stopped, with bots in a meeting. Then a second machine is lost in the middle of a
    recording; then manager and agent each run beside the release before of the other.

    Needs root. The Debian is kept in /var/cache/poolmgr-fleet (or POOLMGR_FLEET_CACHE) for the next run; all else is
    gone afterwards. Package servers, proxies and certificates are those of this machine.
    """
    program.carry_out("lab.systemd", "fleet-test", lambda report: _run(report, fresh, earlier, only_earlier))


def _run(report: Report, fresh: bool, earlier: str | None, only_earlier: bool) -> None:
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
            commit = releases.earlier_commit() if earlier is None else earlier
            if commit:
                report.heading(f"programs of {commit}, beside them")
                releases.install(commit, root, folder, downloads, carried, report)
            access = Access.new()
            configure(root, access)
            report.heading(f"booting it: {NAME}")
            binds = {str(source): tree.SOURCE}
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
                    if not only_earlier:
                        checks.run()
                        Lost(machine, access, sections, cloud, report).lose(root, cache, binds)
                    if commit:
                        checks.beside_earlier(commit, alone=only_earlier)
                finally:
                    if report.failed or sys.exc_info()[0] is FleetError:
                        checks.last_words()
                took_s = machine.power_off()
                report.check("it powers off", took_s is not None, f"after {took_s:.1f} s" if took_s else "not in time")


if __name__ == "__main__":
    main()
