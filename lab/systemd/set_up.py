"""The part of docs/set-up.md about the last `./dev fresh`: when it was, how long it took, and which `dev` and
`requirements/` it had.

    python3 -m lab.systemd.set_up     notes that this checkout is being tried, for the tests that check it
"""

import hashlib
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, NamedTuple

RECORD: Final = "docs/set-up.md"
_BEGIN, _END = "<!-- last run -->\n", "<!-- end of last run -->\n"


def digest(checkout: Path) -> str:
    """A digest of everything that decides what a set-up does."""
    files = [checkout / "dev", *sorted(path for path in (checkout / "requirements").iterdir() if path.is_file())]
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}\n" for path in files)
    return hashlib.sha256(sums.encode()).hexdigest()[:16]


class Tried(NamedTuple):
    """Seconds that the demo, apt in it, and the tests took, and how the tests ended."""

    demo_s: float
    apt_s: float
    test_s: float
    closing: str


def write_record(document: Path, of: str, day: date, tried: Tried, rest: str) -> None:
    """Replace the record of the run before. `rest`: how the killed set-ups and pip alone ended."""
    rows = [
        ("date", day.isoformat()),
        ("`dev` and `requirements/`", f"`{of}`"),
        ("`./dev demo --once`, with the set-up", f"{tried.demo_s:.0f} s"),
        ("of these in apt", f"{tried.apt_s:.0f} s"),
        ("`./dev test`", f"{tried.test_s:.0f} s: {tried.closing}"),
        ("set-ups that were killed, pip alone", rest),
    ]
    table = "| last run | |\n| --- | --- |\n" + "".join(f"| {what} | {value} |\n" for what, value in rows)
    before, _, rest = document.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    document.write_text(f"{before}{_BEGIN}{table}{_END}{after}")


def recorded(document: Path) -> str:
    """The digest of the last run; empty if there was none."""
    found = re.search(r"^\| `dev` and `requirements/` \| `(\w+)` \|$", document.read_text(), re.MULTILINE)
    return found[1] if found else ""


def main() -> None:
    checkout = Path(__file__).resolve().parents[2]
    write_record(checkout / RECORD, digest(checkout), datetime.now(UTC).date(), Tried(0, 0, 0, ""), "")


if __name__ == "__main__":
    main()
