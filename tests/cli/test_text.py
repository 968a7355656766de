"""Values from outside are shown as they are, and durations as people say them."""

import pytest

from common.runtime.cli.text import duration
from poolmgr.cli.text import literal, moment


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Ada's bot – ü 🙂", "Ada's bot – ü 🙂"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\r\nb\x9b", "a\\r\\nb\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_no_visible_character_is_written_as_an_escape(value: str, shown: str) -> None:
    assert literal(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.00 s"),
        (9.99, "9.99 s"),
        (9.996, "10.0 s"),
        (59.96, "1m 00s"),
        (3599.4, "59m 59s"),
        (3600, "1h 00m"),
        (2 * 86400 - 1, "47h 59m"),
        (2 * 86400, "2d 00h"),
        (-1.5, "-1.50 s"),
    ],
)
def test_durations_are_short_and_never_carry_sixty(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_moment_has_its_date_unless_it_is_today() -> None:
    noon = 1_764_000_000.0  # 2025-11-24T16:00:00Z
    assert moment("2025-11-24T15:59:58.123456Z", noon) == "15:59:58"
    assert moment("2025-11-23T15:59:58.123456Z", noon) == "2025-11-23 15:59"
    assert moment("no\x1btime", noon) == "no\\x1btime"
