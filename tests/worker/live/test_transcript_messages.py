"""The messages of a live transcript: their content, and which of them wait."""

import json

from msgspec.structs import replace

from worker.live.transcript_messages import MessageQueue, TranscriptMessage, transcript_message
from worker.transcript.utterances import UtteranceUpdate

SAID = UtteranceUpdate(7, "Ann", "Good morning", 100.0, 101.5, is_final=False, added="morning")


def made(said: UtteranceUpdate = SAID, step: int = 1) -> TranscriptMessage:
    return transcript_message(
        said, step, "b1", 2, "https://hooks.example/t", '{"tag":"sales"}', "1970-01-01T00:01:40.000Z"
    )


def test_a_message_is_what_clients_of_the_api_expect() -> None:
    assert json.loads(made().delivery.body) == {
        "bot_id": "b1",
        "speakerName": "Ann",
        "timestamp": "1970-01-01T00:01:40.000Z",
        "transcript": "Good morning",
        "utterance": "",
        "words": [],
        "is_final": False,
        "end_of_turn": False,
        "turn_is_formatted": False,
        "transcription_mode": "sentence",
        "new_text": "morning",
        "custom_attributes": {"tag": "sales"},
        "utterance_id": 7,
    }
    final = json.loads(made(replace(SAID, is_final=True)).delivery.body)
    assert (final["utterance"], final["is_final"], final["end_of_turn"]) == ("Good morning", True, True)


def test_each_message_has_an_id_of_its_own_which_is_the_same_each_time() -> None:
    assert made().delivery.id == made().delivery.id
    assert made().delivery.id != made(step=2).delivery.id


def test_the_latest_about_an_utterance_takes_the_place_of_earlier_ones() -> None:
    waiting = MessageQueue(10)
    other = made(replace(SAID, number=8), 2)
    later = made(replace(SAID, text="Good morning all"), 3)
    for message in (made(), other, later):
        waiting.put(message)
    assert list(waiting) == [other, later]
    final = made(replace(SAID, is_final=True), 4)
    waiting.put(final)
    waiting.put_back(made())
    assert list(waiting) == [other, final]


def test_messages_that_are_not_final_are_dropped_first() -> None:
    waiting = MessageQueue(2)
    first, second = (made(replace(SAID, number=number, is_final=True), number) for number in (1, 2))
    for message in (first, made(), second):
        waiting.put(message)
    assert (list(waiting), waiting.dropped) == ([first, second], 1)
    third = made(replace(SAID, number=3, is_final=True), 3)
    waiting.put(third)
    assert (list(waiting), waiting.dropped) == ([second, third], 2)
    assert waiting.clear() == 2
    assert waiting.take() is None
