"""What can be written down, and what cannot."""

import pytest

from common.wire.text import is_text


@pytest.mark.parametrize("text", ["", "Ada", "é", "\u200d", "😀", "\x00", "\U0010ffff"])
def test_characters_are_text(text: str) -> None:
    assert is_text(text)


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ud83d \ude00", "\ud83d\ude00"])
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    assert not is_text(text)
