"""What is said, as it is told to a client's webhook: one letter for each step of an utterance. Pure.

Of letters that wait, one about the same utterance takes the place of an earlier one: whoever listens live wants what is
known now. One that is final is never passed over for room that others take.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from common.jobs.outgoing import Delivery
from worker.words.utterances import Said

EVENT: Final = "live_transcription"
MODE: Final = "sentence"


class Letter(NamedTuple):
    """`number`: of its utterance."""

    number: int
    is_final: bool
    delivery: Delivery


def letter(said: Said, step: int, bot_id: str, attempt: int, url: str, attributes: str, at_iso: str) -> Letter:
    """`step`: tells the letters of an attempt apart. `at_iso`: when the utterance began."""
    body = {
        "bot_id": bot_id,
        "speakerName": said.speaker,
        "timestamp": at_iso,
        "transcript": said.text,
        "utterance": said.text if said.is_final else "",
        "words": _NO_WORDS,
        "is_final": said.is_final,
        "end_of_turn": said.is_final,
        "turn_is_formatted": said.is_final,
        "transcription_mode": MODE,
        "new_text": said.added,
        "custom_attributes": msgspec.Raw(attributes.encode()),
        "utterance_id": said.number,
    }
    name = hashlib.sha256(f"{bot_id}\0{attempt}\0{EVENT}\0{step}".encode()).hexdigest()
    text = msgspec.json.encode(body).decode()
    return Letter(said.number, said.is_final, Delivery(f"evt_{name[:40]}", bot_id, EVENT, url, text, said.ended_at))


_NO_WORDS: Final[list[dict[str, Any]]] = []
"""Pages tell no times of single words."""


class Waiting:
    """Letters in the order in which they are to be sent, at most `most`. `dropped`: those given up for room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._letters: deque[Letter] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._letters)

    def __iter__(self) -> Iterator[Letter]:
        return iter(self._letters)

    def put(self, new: Letter) -> None:
        self._letters = deque(one for one in self._letters if one.number != new.number or one.is_final)
        self._letters.append(new)
        while len(self._letters) > self._most:
            self.dropped += 1
            spare = next((one for one in self._letters if not one.is_final), self._letters[0])
            self._letters.remove(spare)

    def take(self) -> Letter | None:
        return self._letters.popleft() if self._letters else None

    def put_back(self, one: Letter) -> None:
        """It was taken, and not sent; if another about the same has come meanwhile, it is no more."""
        if one.is_final or all(other.number != one.number for other in self._letters):
            self._letters.appendleft(one)

    def clear(self) -> int:
        """How many there were."""
        count = len(self._letters)
        self._letters.clear()
        return count
