"""The part of docs/set-up.md about the last `./dev fresh`: when it was, how it went, and which `dev` and
`requirements/` it had.
"""

import hashlib
import re
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

RECORD: Final = "docs/set-up.md"
BEING_TRIED: Final = "FRESH_MACHINE"
"""Set where `./dev fresh` carries out the tests: the record can only be written afterwards."""

HELD: Final = "held"
NOT_PASSED: Final = "not passed"
_BEGIN, _END = "<!-- last run -->\n", "<!-- end of last run -->\n"
_OF: Final = "`dev` and `requirements/`"
_TESTS: Final = "`./dev test`"
_REST: Final = "demo, killed set-ups, pip alone"


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
    """Replace the record of the run before. `rest`: how all else ended."""
    rows = [
        ("date", day.isoformat()),
        (_OF, f"`{of}`"),
        ("`./dev demo --once`, with the set-up", f"{tried.demo_s:.0f} s"),
        ("of these in apt", f"{tried.apt_s:.0f} s"),
        (_TESTS, f"{tried.test_s:.0f} s: {tried.closing}"),
        (_REST, rest),
    ]
    table = "| last run | |\n| --- | --- |\n" + "".join(f"| {what} | {value} |\n" for what, value in rows)
    before, _, rest = document.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    document.write_text(f"{before}{_BEGIN}{table}{_END}{after}")


def doubt(document: Path, of: str) -> str:
    """Why the record does not prove that this set-up holds; empty: it does. All tests passed, and all else held."""
    rows = dict(re.findall(r"^\| (.+?) \| (.*) \|$", document.read_text(), re.MULTILINE))
    tests, rest = rows.get(_TESTS, ""), rows.get(_REST, "")
    if rows.get(_OF) != f"`{of}`":
        return "./dev or requirements/ has changed"
    if not re.match(r"[1-9]\d* s: [1-9]\d* passed", tests) or NOT_PASSED in tests:
        return f"not all tests passed: {tests}"
    return "" if rest == HELD else f"of the rest: {rest}"
