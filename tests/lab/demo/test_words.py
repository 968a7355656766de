"""What the demo holds to be understood."""

import pytest

from common.wire.minutes import Utterance
from lab.demo.words import wrong
from lab.speech.voice import SENTENCE


@pytest.mark.parametrize(
    ("said", "faults"),
    [
        ([("Ada", SENTENCE)], 0),
        ([("Ada", "budget for next year?"), ("Ada", SENTENCE), ("Ada", "Good morning")], 0),
        (
            [("Ada", "for next year? Good morning everybody Shall we begin with"), ("Ada", "the budget for next year")],
            0,
        ),
        ([("Ada", "Good morning, everybody. Shall we begin with a budget for the next year?")], 2),
        ([("Ben", "Good morning everybody."), ("Ada", "Shall we begin with the budget for next year?")], 3),
        ([("", SENTENCE)], 12),
        ([], 12),
    ],
)
def test_a_word_is_wrong_that_is_not_the_persons_where_the_sentence_is_understood_best(
    said: list[tuple[str, str]], faults: int
) -> None:
    assert wrong([Utterance(speaker, text, 0.0, 1.0) for speaker, text in said], "Ada") == faults
