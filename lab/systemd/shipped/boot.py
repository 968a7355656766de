"""Boots a baked image once, and measures the time from power-on until two browsers were warm and the manager had them.

    python3 -m lab.systemd.shipped.boot nspawn TREE
    python3 -m lab.systemd.shipped.boot qemu FOLDER     with disk.raw, vmlinuz and initrd (packer/make_disk)

Run it in its own network namespace (`./dev image` does), because the booted system asks a cloud for its name. Redis and
manager run there, too. A system that systemd-nspawn boots shares that network; qemu's guest reaches it through qemu's.
"""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NoReturn

from lab.parts import StageError
from lab.parts.stage import Stage
from lab.systemd import nspawn, tree
from lab.systemd.inside import AGENT, Inside

DISK: Final = "disk.raw"
WARM: Final = 2
WITHIN_S: Final = 15.0

_GIVE_UP_S: Final = 180.0
_HOST_OF_QEMU: Final = "10.0.2.2"
_CREDENTIAL: Final = "poolmgr.redis_url"
_AGENT: Final = f"{AGENT}.service"


async def measure(way: str, what: Path) -> str:
    """Seconds, and lines about where they went, of a system that can be asked. Raises: StageError, FleetError."""
    async with Stage("image", {"pool": {"min_idle": WARM, "max_workers": 6}}) as stage:
        await stage.start_manager()
        with ExitStack() as machine:
            if way == "nspawn":
                _, root = machine.enter_context(tree.layer(tree.cache_folder(), what))
                began = time.monotonic()
                credential = f"--set-credential={_CREDENTIAL}:{stage.redis_url}"
                booting = nspawn.booted(
                    root, "poolmgr-image", stage.folder / "boot.log", {}, credential, own_network=False
                )
                # In a thread: it waits until the whole system is up, and browsers may be warm before.
                up = asyncio.get_running_loop().run_in_executor(None, machine.enter_context, booting)
            else:
                began = time.monotonic()
                address = stage.redis_url.replace("127.0.0.1", _HOST_OF_QEMU)
                machine.enter_context(_qemu(what, f"{_CREDENTIAL}={address}", stage.folder / "console.log"))
                up = None
            try:
                await stage.pool_is(WARM, _GIVE_UP_S)
            except StageError as error:
                logs = [log.read_text(errors="replace")[-3000:] for log in stage.folder.glob("*o*.log")]
                raise StageError(f"{error}\n{''.join(logs)}") from error
            took = time.monotonic() - began
            lines = [f"{took:.2f}"]
            if up is not None:
                system = await up
                lines += system.ask("systemd-analyze", "time").stdout.splitlines()[:1]
                # Times from systemd's start; +: how long a unit took to be ready.
                lines += system.ask("systemd-analyze", "--no-pager", "critical-chain", _AGENT).stdout.splitlines()[3:]
                warmed = Inside(system, "", "").events(_AGENT, "worker_warmed")
                lines.append(f"worker_warmed: {', '.join(str(each['took_s']) for each in warmed)} s")
        return "\n".join(lines)


@contextmanager
def _qemu(folder: Path, credential: str, console: Path) -> Generator[None]:
    """The disk, booted with all of this machine's processors. It is not written to."""
    command = (
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-enable-kvm", "-cpu", "host", "-smp", "2"),
        *("-m", "4096", "-display", "none", "-no-reboot", "-serial", f"file:{console}"),
        *("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd")),
        *("-append", "root=/dev/vda rw console=ttyS0 quiet systemd.journald.forward_to_console=1"),
        *("-drive", f"file={folder / DISK},format=raw,if=virtio,snapshot=on"),
        *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
        *("-smbios", f"type=11,value=io.systemd.credential:{credential}"),
    )
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _end(_number: int, _frame: object) -> NoReturn:
    """End this program; its context managers then end what it started."""
    sys.exit(143)


def main() -> None:
    signal.signal(signal.SIGTERM, _end)
    subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
    way, what = sys.argv[1:]
    print(asyncio.run(measure(way, Path(what))))


if __name__ == "__main__":
    main()
