"""Letters about what is said: their content, and which of them wait."""

import json

from msgspec.structs import replace

from worker.live.letters import Letter, Waiting, letter
from worker.words.utterances import Said

SAID = Said(7, "Ann", "Good morning", 100.0, 101.5, is_final=False, added="morning")


def made(said: Said = SAID, step: int = 1) -> Letter:
    return letter(said, step, "b1", 2, "https://hooks.example/t", '{"tag":"sales"}', "1970-01-01T00:01:40.000Z")


def test_a_letter_is_what_clients_of_the_api_know() -> None:
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


def test_each_letter_has_an_id_of_its_own_which_is_the_same_each_time() -> None:
    assert made().delivery.id == made().delivery.id
    assert made().delivery.id != made(step=2).delivery.id


def test_the_latest_about_an_utterance_takes_the_place_of_earlier_ones() -> None:
    waiting = Waiting(10)
    other = made(replace(SAID, number=8), 2)
    later = made(replace(SAID, text="Good morning all"), 3)
    for one in (made(), other, later):
        waiting.put(one)
    assert list(waiting) == [other, later]
    final = made(replace(SAID, is_final=True), 4)
    waiting.put(final)
    waiting.put_back(made())
    assert list(waiting) == [other, final]


def test_for_room_those_that_are_not_final_go_first() -> None:
    waiting = Waiting(2)
    first, second = (made(replace(SAID, number=number, is_final=True), number) for number in (1, 2))
    for one in (first, made(), second):
        waiting.put(one)
    assert (list(waiting), waiting.dropped) == ([first, second], 1)
    third = made(replace(SAID, number=3, is_final=True), 3)
    waiting.put(third)
    assert (list(waiting), waiting.dropped) == ([second, third], 2)
    assert waiting.clear() == 2
    assert waiting.take() is None
