"""The messages of a live transcript: one for each time that an utterance grew, for a client's webhook. Pure.

A new message replaces a waiting one about the same utterance, because a live client wants the latest text. Final
messages are the last to be dropped when too many wait.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from common.jobs.outgoing import Delivery
from common.wire.minutes import Word
from worker.transcript.utterances import UtteranceUpdate

EVENT: Final = "live_transcription"
MODE: Final = "sentence"


class TranscriptMessage(NamedTuple):
    """`number`: of its utterance; each attempt counts from the beginning."""

    number: int
    is_final: bool
    delivery: Delivery


def transcript_message(
    said: UtteranceUpdate,
    step: int,
    bot_id: str,
    attempt: int,
    url: str,
    attributes: str,
    at_iso: str,
    since: float = 0.0,
) -> TranscriptMessage:
    """`step`: the number of this message in the attempt. `at_iso`: when the utterance began. `since`: when the bot was
    in its meeting, from which the times of words are counted.
    """
    body = {
        "bot_id": bot_id,
        "speakerName": said.speaker,
        "timestamp": at_iso,
        "transcript": said.text,
        "utterance": said.text if said.is_final else "",
        "words": [_word(word, since) for word in said.words],
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
    return TranscriptMessage(
        said.number, said.is_final, Delivery(f"evt_{name[:40]}", bot_id, EVENT, url, text, said.ended_at)
    )


def _word(word: Word, since: float) -> dict[str, Any]:
    """A word as clients expect it. Captions have no words: pages do not give their times."""
    times = {"start": round(word.began_at - since, 3), "end": round(word.ended_at - since, 3)}
    return {"word": word.word, "punctuated_word": word.text, **times, "confidence": word.confidence}


class MessageQueue:
    """Messages that wait to be sent, in order, at most `most`. `dropped`: how many were given up for that limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._messages: deque[TranscriptMessage] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[TranscriptMessage]:
        return iter(self._messages)

    def put(self, new: TranscriptMessage) -> None:
        kept = (message for message in self._messages if message.number != new.number or message.is_final)
        self._messages = deque([*kept, new])
        while len(self._messages) > self._most:
            self.dropped += 1
            spare = next((message for message in self._messages if not message.is_final), self._messages[0])
            self._messages.remove(spare)

    def take(self) -> TranscriptMessage | None:
        return self._messages.popleft() if self._messages else None

    def put_back(self, message: TranscriptMessage) -> None:
        """Put back a message that was taken and not sent, unless a newer one about its utterance waits already."""
        if message.is_final or all(other.number != message.number for other in self._messages):
            self._messages.appendleft(message)

    def clear(self) -> int:
        """Drop all. Returns how many there were."""
        count = len(self._messages)
        self._messages.clear()
        return count
