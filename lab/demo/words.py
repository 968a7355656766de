"""What is understood of the sentence that the demo's person repeats."""

from collections.abc import Iterable
from typing import Final

from common.wire.minutes import Utterance
from lab.speech import voice

MOST_WRONG: Final = 3
"""How many words of the sentence may be wrong: sound is lost on a machine that is too busy."""


def wrong(said: Iterable[Utterance], speaker: str) -> int:
    """How many words of the sentence are wrong in what that speaker said, where it is understood best."""
    heard = voice.words(" ".join(one.text for one in said if one.speaker == speaker))
    return voice.errors(voice.words(voice.SENTENCE), heard, anywhere=True)
