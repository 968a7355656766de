"""`./dev image`: Packer bakes the local image, which is then booted until its browsers are warm and the manager has
them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from lab.systemd import host, program, tree
from lab.systemd.host import Carried
from lab.systemd.machine import CHECKOUT, build_wheel, guide
from lab.systemd.report import FleetError, Report
from lab.systemd.shipped import bare
from lab.systemd.shipped.boot import DISK, WITHIN_S

KEPT: Final = "build/packer/image"

_BUNDLE: Final = "build/packer/bundle.tar"
_STEP_S: Final = 1800.0
_DISK_SIZE: Final = "6G"
_NO_TRACE: Final = (
    "etc/ssh/ssh_host_rsa_key",
    "var/lib/systemd/random-seed",
    "root/.cache",
    "root/poolmgr",
    "var/lib/poolmgr/journal.db",
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--fresh", is_flag=True, help="Build the Debian that it begins with anew, too.")
@click.option("--boots", type=click.IntRange(1, 20), default=3, show_default=True, help="How often each is booted.")
@click.option("--keep", is_flag=True, help=f"Leave the disk, its kernel and its initrd in {KEPT}.")
def main(fresh: bool, boots: int, keep: bool) -> None:
    """Bake the worker's image by Packer's target `null`, boot it, and measure from power-on to two warm browsers that
    the manager knows of: by systemd-nspawn, and as a disk by qemu where the processor virtualises.

    Needs root. Redis and manager are this checkout's, on a network of their own. The bare Debian is kept in
    /var/cache/poolmgr-fleet (or POOLMGR_FLEET_CACHE); all else is gone afterwards.
    """
    program.carry_out(
        "lab.systemd.shipped.image", "image", lambda report: _run(report, fresh=fresh, boots=boots, keep=keep)
    )


def _run(report: Report, *, fresh: bool, boots: int, keep: bool) -> None:
    carried = host.carried()
    cache = tree.cache_folder()
    with tree.kept(cache):
        base = bare.build(cache, report, fresh=fresh)
        with tree.layer(cache, base) as (folder, root):
            source = folder / "source"
            tree.copy_source(CHECKOUT, source)
            report.heading("the wheel, and what the image is made of")
            build_wheel(guide()[1], source, report)
            _do(report, source, "packer/bundle", _BUNDLE)
            report.heading("packer build -only=null.tree")
            tree.configure_apt(root, host.sources(), host.apt_options())
            _bake(report, source, root, carried)
            (root / "etc/apt/apt.conf.d" / tree.APT_OPTIONS).unlink()  # files of this machine
            left = [path for path in _NO_TRACE if (root / path).exists()]
            machine_id = (root / "etc/machine-id").read_text()
            report.check(
                "nothing is in it that a VM must have for itself", not (left or machine_id), str(left or "none")
            )
            image = CHECKOUT / KEPT if keep else folder
            by_qemu = _virtualises() and shutil.which("qemu-system-x86_64")
            if by_qemu:
                report.heading("packer/make_disk: the same as a disk")
                _do(report, source, "packer/make_disk", str(image), "", str(root), SIZE=_DISK_SIZE)
                report.line(f"{(image / DISK).stat().st_blocks / 2048:.0f} MiB of it are written")
            _boot(report, "nspawn", root, boots)
            if by_qemu:
                _boot(report, "qemu", image, boots)
            else:
                report.line("not tried as a disk: no qemu-system-x86_64, or no processor that virtualises for KVM")


def _bake(report: Report, source: Path, root: Path, carried: Carried) -> None:
    """Run Packer as packer/README.md says, and show its output."""
    # Variables are passed by their names, because a value may have a space; systemd-nspawn takes it from its
    # environment.
    options = [f"--setenv={name}" for name in carried.environment]
    options += [f"--bind-ro={here}:{there}" for here, there in carried.binds.items()]
    environment = {
        **carried.environment,
        "NSPAWN": " ".join(options),
        "CHECKPOINT_DISABLE": "1",
        "PACKER_NO_COLOR": "1",
    }
    _do(report, source, "packer", "build", "-only=null.tree", "-var", f"tree={root}", "packer/templates", **environment)


def _virtualises() -> bool:
    """Whether qemu can boot a Debian by KVM. /dev/kvm alone does not say: kvm_pvm takes only kernels made for it."""
    words = set(Path("/proc/cpuinfo").read_text().split())
    return Path("/dev/kvm").exists() and bool(words & {"vmx", "svm"})


def _boot(report: Report, way: str, what: Path, boots: int) -> None:
    """Run it in its own network namespace: the booted system asks a cloud for its name, and must find none."""
    report.heading(f"booting it by {way}, {boots} times")
    command = ("unshare", "--net", sys.executable, "-m", "lab.systemd.shipped.boot", way, str(what))
    took: list[float] = []
    for _ in range(boots):
        with subprocess.Popen(
            command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                said, complaint = process.communicate(timeout=_STEP_S)
            finally:
                process.terminate()  # not killed, because it has to end Redis, manager and the booted system
        if process.returncode:
            report.check("two browsers are warm and the manager knows", False, complaint[-2000:])
            return
        seconds, *lines = said.splitlines()
        took.append(float(seconds))
        for line in (f"{seconds} s", *lines):
            report.line(line)
    seen = f"{', '.join(f'{each:.1f}' for each in took)} s"
    report.check(f"power-on to two warm browsers within {WITHIN_S:.0f} s", max(took) <= WITHIN_S, seen)


def _do(report: Report, folder: Path, *command: str, **environment: str) -> None:
    report.line(f"# {' '.join(command)}")
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_STEP_S,
        check=False,
    )
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise FleetError(f"cannot carry out: {' '.join(command)}\n{end}")


if __name__ == "__main__":
    main()
