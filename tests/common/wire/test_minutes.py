"""What is kept of a meeting in words is read as it was written, and nothing else is."""

import pytest

from common.wire import minutes
from common.wire.minutes import Minutes, Turn, Utterance

KEPT = Minutes(
    minutes.VERSION,
    "b1",
    2,
    "jitsi",
    1e9,
    minutes.CAPTIONS,
    [Utterance("Ann", "Good morning", 1e9 + 1, 1e9 + 2)],
    [Turn("p1", "Ann", 1e9 + 1, 1e9 + 2)],
)


def test_what_was_written_is_read() -> None:
    assert minutes.decode(minutes.encode(KEPT)) == KEPT


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", minutes.encode(KEPT).replace(b"2,", b'"two",', 1)])
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        minutes.decode(text)
