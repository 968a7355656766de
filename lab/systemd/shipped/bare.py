"""A Debian 12 that boots and has nothing else, for packages and images that bring their own requirements."""

from pathlib import Path
from typing import Final

from lab.systemd import host
from lab.systemd.report import Report
from lab.systemd.tree import Tree

_BASE: Final = ("systemd", "systemd-sysv", "dbus", "iproute2", "ca-certificates", "linux-image-amd64")
"""The image needs the kernel to boot as a disk (packer/make_disk has it, too)."""


def build(cache: Path, report: Report, *, fresh: bool) -> Path:
    """The folder; it is built if it does not exist. Raises: FleetError."""
    fetching = (host.sources(), host.apt_options(), host.carried())
    return Tree(cache, "bare", _BASE, [], report).build(*fetching, fresh=fresh)
