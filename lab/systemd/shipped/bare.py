"""A Debian 12 with what boots and no more, for what brings the rest itself."""

from pathlib import Path
from typing import Final

from lab.systemd import host
from lab.systemd.report import Report
from lab.systemd.tree import Tree

_BASE: Final = ("systemd", "systemd-sysv", "dbus", "iproute2", "ca-certificates", "linux-image-amd64")
"""The kernel is for the image as a disk (packer/make_disk has it, too)."""


def build(cache: Path, report: Report, *, fresh: bool) -> Path:
    """The folder, built unless it is there. Raises: FleetError."""
    fetching = (host.sources(), host.apt_options(), host.carried())
    return Tree(cache, "bare", _BASE, [], report).build(*fetching, fresh=fresh)
