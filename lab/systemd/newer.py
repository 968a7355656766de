"""A package index on this machine that offers a newer release of every pinned package, as next month's index will.

Each is an empty wheel: a set-up that installs one has not kept to the lock.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from requirements.locks import Pin

VERSION: Final = "99999"


def make_index(folder: Path, pins: Mapping[str, Pin]) -> None:
    """Make the pages of a simple index (PEP 503), and the wheels beside them."""
    for name, pin in pins.items():
        wheel = folder / name / f"{name.replace('-', '_')}-{VERSION}-py3-none-any.whl"
        wheel.parent.mkdir(parents=True, exist_ok=True)
        _make_wheel(wheel, name, pin)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (wheel.parent / "index.html").write_text(
            f'<!DOCTYPE html><html><body><a href="{wheel.name}#sha256={digest}">{wheel.name}</a></body></html>\n'
        )


def _make_wheel(wheel: Path, name: str, pin: Pin) -> None:
    info = f"{wheel.name.split('-')[0]}-{VERSION}.dist-info"
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in sorted(pin.extras))
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n{extras}")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: poolmgr\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "".join(f"{info}/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD")))
