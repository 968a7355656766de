"""A network with an address for each machine, and a cable to each that can be cut. It is made of network namespaces,
whose names are in the mount namespace of this process and end with it.
"""

import ctypes
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.systemd.report import FleetError

HERE: Final = "10.77.0.1"
"""This program's own address on it."""

_NAMES: Final = Path("/run/netns")
_HUB: Final = "hub"
_CLONE_NEWNET: Final = 0x40000000
_COMMAND_S: Final = 20.0


class Network:
    """This program is on it, too, and so is what it starts meanwhile (`laid`)."""

    def __init__(self) -> None:
        self.out: set[str] = set()
        """The machines whose cable is cut."""

    def plug(self, name: str, address: str) -> str:
        """Lay a cable to a machine of that address. Returns the path of its network namespace."""
        _ip("netns", "add", name)
        _ip("-n", _HUB, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", _HUB, "link", "set", name, "master", "bridge", "up")
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")
        _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        return str(_NAMES / name)

    def cut(self, name: str) -> None:
        """No packet gets through any more, and the machine sees that its cable is out."""
        _ip("-n", _HUB, "link", "set", name, "down")
        self.out.add(name)

    def mend(self, name: str) -> None:
        _ip("-n", _HUB, "link", "set", name, "up")
        self.out.discard(name)


@contextmanager
def laid() -> Generator[Network]:
    """The network; within, this thread is on it. Raises: FleetError."""
    _NAMES.mkdir(exist_ok=True)
    subprocess.run(("mount", "-t", "tmpfs", "tmpfs", _NAMES), check=True)
    try:
        _ip("netns", "add", _HUB)
        _ip("-n", _HUB, "link", "set", "lo", "up")
        _ip("-n", _HUB, "link", "add", "bridge", "type", "bridge")
        _ip("-n", _HUB, "link", "set", "bridge", "up")
        _ip("-n", _HUB, "address", "add", f"{HERE}/24", "dev", "bridge")
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            _enter(_NAMES / _HUB)
            try:
                yield Network()
            finally:
                _enter(Path(f"/proc/self/fd/{before}"))
        finally:
            os.close(before)
    finally:
        for name in _NAMES.iterdir():
            subprocess.run(("umount", "--lazy", name), capture_output=True, check=False)
        subprocess.run(("umount", "--lazy", _NAMES), check=True)


def _enter(namespace: Path) -> None:
    there = os.open(namespace, os.O_RDONLY)
    try:
        # Python has os.setns from 3.12 on.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(there, _CLONE_NEWNET):
            raise FleetError(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(there)


def _ip(*words: str) -> None:
    done = subprocess.run(("ip", *words), capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    if done.returncode:
        raise FleetError(f"cannot lay the machines' network: ip {' '.join(words)}: {done.stderr.strip()}")
