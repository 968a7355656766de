"""Sound that is heard while it comes, by a server that really hears it, whatever becomes of the connection."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
from msgspec.structs import replace

from common.config.settings import TranscriptionSettings
from common.speech import deepgram_live
from common.speech.deepgram_live import DeepgramLive, Timeline
from common.wire.minutes import Word
from lab.speech.server import Speech
from lab.speech.tones import RATE, sound
from tests.waiting import wait_until

FRAME_S = 0.1


class Ears:
    """`news`: what it was told, as words, whether they stay, whether an utterance ends. `fared`: how it went."""

    def __init__(self, settings: TranscriptionSettings, most: int = 100) -> None:
        self.news: list[tuple[list[Word], bool, bool]] = []
        self.fared: list[tuple[bool, str]] = []
        self.live = DeepgramLive(settings, "en", most, self._hear, self._fare)

    def _hear(self, words: Sequence[Word], is_final: bool, ends: bool) -> None:
        self.news.append(([*words], is_final, ends))

    def _fare(self, listens: bool, why: str) -> None:
        self.fared.append((listens, why))

    @property
    def finals(self) -> list[str]:
        return [word.text for words, is_final, _ in self.news if is_final for word in words]

    def say(self, words: Sequence[tuple[str, float, float]], lasts_s: float, at: float) -> None:
        pcm, size = sound(words, lasts_s), round(FRAME_S * RATE) * 2
        for number, place in enumerate(range(0, len(pcm), size)):
            self.live.put(pcm[place : place + size], at + number * FRAME_S)


@asynccontextmanager
async def listening(ears: Ears) -> AsyncGenerator[Callable[[], bool]]:
    """Whether it has come to its end."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(ears.live.run(), name="listen")
        yield running.done
        ears.live.end()


async def test_words_come_first_as_guesses_and_then_to_stay_at_the_time_when_they_were_said(
    settings: TranscriptionSettings, speech: Speech
) -> None:
    ears, at = Ears(settings), 1_800_000_000.0
    async with listening(ears):
        ears.say([("alpha", 0.2, 0.4), ("golf", 0.8, 0.4)], 2.0, at)
        await wait_until(lambda: ears.finals == ["Alpha", "golf."])
        ears.say([("delta", 0.2, 0.4)], 0.7, at + 100)  # the last one, of which no pause tells that it is over
    assert ears.finals == ["Alpha", "golf.", "Delta."]
    assert next(words[0].text for words, is_final, _ in ears.news if words and not is_final) == "Alpha."
    [first, second, third] = [word for words, is_final, _ in ears.news if is_final for word in words]
    assert [first.began_at - at, second.began_at - at, third.began_at - at] == pytest.approx(
        [0.2, 0.8, 100.2], abs=0.15
    )
    assert [first.voice, second.voice] == [0, 1]
    assert next(ends for words, is_final, ends in ears.news if is_final and words) is True
    [query] = speech.queries
    assert (query["model"], query["language"], query["diarize"]) == ("nova-3", "en", "true")
    assert speech.controls == ["CloseStream"]
    assert ears.fared == [(True, "")]


async def test_while_there_is_no_sound_it_says_that_it_is_there_and_asks_for_what_is_kept_back(
    settings: TranscriptionSettings, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepgram_live, "KEEP_ALIVE_S", 0.15)
    speech.patience_s = 4.0  # both are in this process, which may have to wait for seconds on a busy machine
    ears = Ears(settings)
    async with listening(ears):
        ears.say([("alpha", 0.1, 0.3)], 0.5, time.time())
        await wait_until(lambda: speech.controls.count("KeepAlive") * 0.15 > speech.patience_s)
        assert ears.finals == ["Alpha."]
        assert speech.controls.count("Finalize") == 1
    assert speech.connections == 1


async def test_a_connection_that_is_lost_is_made_anew_and_sound_waits_but_not_without_end(
    settings: TranscriptionSettings, speech: Speech
) -> None:
    ears = Ears(settings, most=20)
    async with listening(ears):
        await wait_until(lambda: ears.fared == [(True, "")])
        speech.answers.append(503)
        await speech.hang_up()
        await wait_until(lambda: ears.fared[-1] == (False, "failed (503)"))
        ears.say([("alpha", 0.1, 0.3), ("bravo", 1.5, 0.3)], 3.0, time.time())
        assert ears.live.dropped == 10
        await wait_until(lambda: ears.finals == ["Bravo."])
    assert ears.fared == [(True, ""), (False, "hung_up"), (False, "failed (503)"), (True, "")]


async def test_sound_that_cannot_be_sent_is_sent_on_the_next_connection(
    settings: TranscriptionSettings, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send, fails_at = aiohttp.ClientWebSocketResponse.send_bytes, [3, 5]

    async def send_or_fail(socket: aiohttp.ClientWebSocketResponse, pcm: bytes) -> None:
        if fails_at and len(sent) == fails_at[0]:
            del fails_at[0]
            raise ConnectionResetError
        await send(socket, pcm)
        sent.append(pcm)

    monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "send_bytes", send_or_fail)
    words = [("alpha", 0.2, 0.4)]
    ears = Ears(settings)
    async with listening(ears):
        ears.say(words, 2.0, time.time())
        await wait_until(lambda: len(sent) == 20)
    assert (b"".join(sent), ears.live.dropped) == (sound(words, 2.0), 0)
    assert speech.connections == 3


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"deepgram_key_file": ""}, "unauthorized (401)"),
        ({"allowed_networks": []}, "address_not_allowed"),
    ],
)
async def test_where_there_is_no_hope_it_ends_and_takes_nothing_more(
    settings: TranscriptionSettings, speech: Speech, changed: dict[str, object], why: str
) -> None:
    ears = Ears(replace(settings, **changed))
    ears.say([("alpha", 0.1, 0.1)], 0.3, time.time())
    async with listening(ears) as ended:
        await wait_until(ended)
        ears.say([("alpha", 0.1, 0.3)], 0.5, time.time())
    assert ears.fared == [(False, why)]
    assert ears.live.dropped == 3 + 5


async def test_a_server_that_is_away_is_called_again_and_one_that_never_comes_is_let_go(
    settings: TranscriptionSettings,
) -> None:
    ears = Ears(replace(settings, deepgram_url="http://127.0.0.1:1"))
    async with listening(ears):
        ears.say([("alpha", 0.1, 0.3)], 0.5, time.time())
        await wait_until(lambda: ears.fared == [(False, "connection_failed")])
    assert ears.live.dropped == 5


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"type":"Results"}', '{"type":"Results","channel":[0]}', '{"type":"Metadata"}', '"\\ud800"'],
)
def test_what_cannot_be_read_is_passed_over(text: str) -> None:
    ears = Ears(TranscriptionSettings())
    ears.live._take(text)  # pyright: ignore[reportPrivateUsage]
    assert ears.news == []


def test_the_end_of_an_utterance_may_come_by_itself() -> None:
    ears = Ears(TranscriptionSettings())
    ears.live._take('{"type":"UtteranceEnd","channel":[0,1],"last_word_end":2.1}')  # pyright: ignore[reportPrivateUsage]
    assert ears.news == [([], True, True)]


@pytest.mark.parametrize("second", ["1e300", "1e12", "-1e11"])
def test_words_are_heard_within_the_sound_that_was_sent(second: str) -> None:
    ears = Ears(TranscriptionSettings())
    ears.live._timeline.note(100.0, 2.0)  # pyright: ignore[reportPrivateUsage]
    word = f'{{"word":"hi","start":{second},"end":{second}}}'
    ears.live._take(f'{{"type":"Results","channel":{{"alternatives":[{{"words":[{word}]}}]}}}}')  # pyright: ignore[reportPrivateUsage]
    [([heard], _, _)] = ears.news
    assert heard.began_at == heard.ended_at == (100.0 if second.startswith("-") else 102.0)


def test_a_second_of_the_stream_is_a_moment_of_the_wall_also_after_sound_was_missing() -> None:
    line = Timeline()
    assert line.at(1.0) == 1.0
    for at in (100.0, 101.0, 102.1, 150.0):
        line.note(at, 1.0)
    assert [line.at(second) for second in (0.5, 2.5, 3.5)] == [100.5, 102.5, 150.5]
