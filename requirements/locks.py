"""Reads a lock, and tells whether it holds for every installer, also when newer releases of what it pins are out.

Older pips (23.0 of Debian 12 and 23.2 were seen to) need whatever a package requires with an extra to be pinned with
that extra. Otherwise they look for the newest release that has it, and refuse that one because it is not pinned.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER: Final = Path(__file__).parent
LOCKS: Final = ("dev.txt", "otlp.txt", "peers.txt", "run.txt", "sqs.txt", "uv.txt", "whisper.txt")
_NO_EXTRA: Final = ("",)


class Pin(NamedTuple):
    version: str
    extras: frozenset[str]
    applies: bool
    """To this machine and this Python."""
    hashes: int


def read(lock: Path) -> dict[str, Pin]:
    """What a lock pins, by canonical name."""
    pins: dict[str, Pin] = {}
    for words in lock.read_text().replace("\\\n", " ").splitlines():
        line, *hashes = words.partition(" #")[0].split(" --hash=")
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line)
        [specifier] = requirement.specifier
        applies = requirement.marker is None or requirement.marker.evaluate()
        if applies or canonicalize_name(requirement.name) not in pins:
            pins[canonicalize_name(requirement.name)] = Pin(
                specifier.version, frozenset(requirement.extras), applies, len(hashes)
            )
    return pins


def faults(pins: Mapping[str, Pin], asked: Iterable[tuple[str, str]], installed: Iterable[Distribution]) -> list[str]:
    """What is required and not pinned so, by whom. `asked`: who asks for what, from outside of the lock.

    What pinned packages require stands in the metadata of those that are `installed` in the pinned version.
    """
    wanted = [(who, Requirement(words)) for who, words in asked]
    for each in installed:
        pin = pins.get(canonicalize_name(each.name))
        if pin and pin.version == each.version:
            wanted += [(f"{each.name} {each.version}", requirement) for requirement in _requirements(each, pin)]
    return [fault for who, requirement in wanted if (fault := _fault(pins, who, requirement))]


def _requirements(package: Distribution, pin: Pin) -> list[Requirement]:
    """Those that count here, with the extras that are pinned."""
    listed = [Requirement(words) for words in package.requires or ()]
    extras = (*_NO_EXTRA, *sorted(pin.extras))
    return [
        requirement
        for requirement in listed
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras)
    ]


def _fault(pins: Mapping[str, Pin], who: str, wanted: Requirement) -> str:
    pin = pins.get(canonicalize_name(wanted.name))
    if pin is None:
        return f"{wanted.name} is not pinned, and {who} asks for {wanted}"
    if missing := {canonicalize_name(extra) for extra in wanted.extras} - set(map(canonicalize_name, pin.extras)):
        extras = ",".join(sorted(missing))
        return f"{wanted.name} is pinned without [{extras}], and {who} asks for {wanted.name}[{extras}]"
    if not wanted.specifier.contains(pin.version, prereleases=True):
        return f"{wanted.name} is pinned to {pin.version}, and {who} asks for {wanted}"
    return ""
