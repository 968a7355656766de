"""What is kept of a meeting in words is read as it was written, and nothing else is."""

import pytest

from common.wire import minutes
from common.wire.minutes import Minutes, Turn, Utterance, Word

KEPT = Minutes(
    minutes.VERSION,
    "b1",
    2,
    "jitsi",
    1e9,
    minutes.CAPTIONS,
    [Utterance("Ann", "Good morning", 1e9 + 1, 1e9 + 2, [Word("good", 1e9 + 1, 1e9 + 1.5, "Good", 0.9, 0)])],
    [Turn("p1", "Ann", 1e9 + 1, 1e9 + 2)],
)


def test_what_was_written_is_read() -> None:
    assert minutes.decode(minutes.encode(KEPT)) == KEPT


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", minutes.encode(KEPT).replace(b"2,", b'"two",', 1)])
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        minutes.decode(text)


def test_a_transcript_has_a_name_and_a_file_by_its_number() -> None:
    for number, name, file in ((1, "tr-b.1", "transcript.json"), (12, "tr-b.1~12", "transcript-12.json")):
        assert (minutes.transcript_id("b.1", number), minutes.transcript_name(number)) == (name, file)
        assert minutes.named_transcript(name) == ("b.1", number)
    assert [minutes.named_transcript(name) for name in ("b1", "tr-b1~", "tr-b1~x", "tr-b1~1234", "tr-b1~\u00b2")] == [
        None
    ] * 5


def test_a_word_stands_in_a_text_with_its_marks() -> None:
    assert [Word("well", 0, 1, "Well,").text, Word("um", 0, 1).text] == ["Well,", "um"]


@pytest.mark.parametrize("at", [1e300, 1e12, -1e11])
def test_times_that_no_clock_shows_are_those_of_the_beginning(at: float) -> None:
    def said(first: float, second: float) -> Minutes:
        words = [Word("hi", first, second), Word("you", 1001.0, 1002.0)]
        return Minutes(1, "b1", 1, "room", 1000.0, "openai", [Utterance("", "hi you", 1001.0, second, words)])

    assert minutes.decode(minutes.encode(said(at, at))) == said(1000.0, 1000.0)
    assert minutes.decode(minutes.encode(said(1001.0, at))) == said(1001.0, 1000.0)
