"""What stands in docs/set-up.md of the last `./dev fresh`: when, how long, and of which `dev` and `requirements/`.

python3 -m lab.systemd.set_up      writes down that this checkout is being tried, for the tests that try it
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

RECORD: Final = "docs/set-up.md"
_BEGIN, _END = "<!-- last run -->\n", "<!-- end of last run -->\n"


def digest(checkout: Path) -> str:
    """Of all that decides what a set-up does."""
    files = [checkout / "dev", *sorted(path for path in (checkout / "requirements").iterdir() if path.is_file())]
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}\n" for path in files)
    return hashlib.sha256(sums.encode()).hexdigest()[:16]


def write_record(document: Path, of: str, day: date, seconds: Mapping[str, float]) -> None:
    """Replaces what stood there of the run before."""
    rows = [
        ("date", day.isoformat()),
        ("`dev` and `requirements/`", f"`{of}`"),
        ("`./dev demo --once`, with the set-up", f"{seconds['demo']:.0f} s"),
        ("of these in apt", f"{seconds['apt']:.0f} s"),
        ("`./dev test`", f"{seconds['test']:.0f} s"),
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
    write_record(checkout / RECORD, digest(checkout), datetime.now(UTC).date(), {"demo": 0, "apt": 0, "test": 0})


if __name__ == "__main__":
    main()
