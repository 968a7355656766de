"""Recordings are made words of, by servers that really decode and hear what comes."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from common.config.settings import TranscriptionSettings
from common.speech import openai
from common.speech.choice import transcriber
from common.speech.pieces import cut
from common.speech.provider import SpeechError
from lab.speech.server import Speech, words_in
from tests.common.speech.conftest import recorded

SAID = (("alpha", 0.5, 0.4), ("bravo", 1.1, 0.4), ("golf", 3.0, 0.5))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("sound") / "sound.ogg", SAID, 4.0)


@pytest.mark.parametrize("name", ["deepgram", "openai"])
async def test_a_recording_becomes_words_with_their_times_as_they_stand_in_a_text(
    settings: TranscriptionSettings, sound: Path, name: str
) -> None:
    found = await transcriber(name, settings).transcribe(sound, "")
    assert [(one.word, one.punctuated or one.word) for one in found] == [
        ("alpha", "Alpha"), ("bravo", "bravo"), ("golf", "golf."),
    ]  # fmt: skip
    for heard, (_, begins_s, lasts_s) in zip(found, SAID, strict=True):
        assert heard.begins_s == pytest.approx(begins_s, abs=0.1)
        assert heard.ends_s == pytest.approx(begins_s + lasts_s, abs=0.1)
    assert [one.voice for one in found] == ([0, 0, 1] if name == "deepgram" else [None] * 3)


async def test_a_recording_larger_than_the_server_takes_is_cut_where_it_is_quiet_and_no_word_is_lost(
    settings: TranscriptionSettings, speech: Speech, tmp_path: Path
) -> None:
    said = [(word, 1.0 + 2 * at, 0.6) for at, word in enumerate(("alpha", "bravo", "charlie", "delta", "echo"))]
    sound = recorded(tmp_path / "long.ogg", said, 11.0)
    most = sound.stat().st_size // 3
    pieces = cut(sound, tmp_path, most)
    assert len(pieces) >= 3
    assert all(piece.path.stat().st_size <= most for piece in pieces)
    heard = [(one.word, piece.begins_s + one.begins_s) for piece in pieces for one in words_in(piece.path.read_bytes())]
    assert [word for word, _ in heard] == [word for word, _, _ in said]
    assert [at for _, at in heard] == pytest.approx([at for _, at, _ in said], abs=0.1)
    assert [len(cut(sound, tmp_path, 10**9, most_s)) > 1 for most_s in (30.0, 6.0)] == [False, True]


async def test_pieces_are_asked_one_after_the_other_and_put_together(
    settings: TranscriptionSettings, speech: Speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [("alpha", 0.5, 0.3), ("bravo", 2.5, 0.3), ("charlie", 4.5, 0.3)]
    sound = recorded(tmp_path / "long.ogg", said, 5.0)
    monkeypatch.setattr(openai, "cut", partial(cut, most_s=2.0))
    found = await transcriber("openai", settings).transcribe(sound, "en-GB")
    assert [one.begins_s for one in found] == pytest.approx([0.5, 2.5, 4.5], abs=0.1)
    assert len(speech.sizes) >= 3
    assert {form["language"][0] for form in speech.forms} == {"en"}
    assert {form["model"][0] for form in speech.forms} == {"whisper-1"}


async def test_a_server_that_tells_no_times_of_words_is_taken_by_its_sentences(
    settings: TranscriptionSettings, speech: Speech, sound: Path
) -> None:
    speech.gives_words = False
    [one] = await transcriber("openai", settings).transcribe(sound, "")
    assert (one.word, one.is_whole) == ("Alpha bravo golf.", True)


async def test_a_server_that_tells_no_times_at_all_is_taken_by_the_text_of_each_piece(
    settings: TranscriptionSettings, speech: Speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech.gives_times = False
    whole = recorded(tmp_path / "whole.ogg", SAID, 4.0)
    [one] = await transcriber("openai", settings).transcribe(whole, "")
    assert (one.word, one.is_whole, one.begins_s) == ("Alpha bravo golf.", True, 0.0)
    assert one.ends_s == pytest.approx(4.0, abs=0.1)
    long = recorded(tmp_path / "long.ogg", [("alpha", 0.5, 0.3), ("bravo", 4.5, 0.3)], 5.0)
    monkeypatch.setattr(openai, "cut", partial(cut, most_s=2.0))
    found = await transcriber("openai", settings).transcribe(long, "")
    assert [one.word for one in found] == ["Alpha.", "Bravo."]
    assert found[0].ends_s <= 2.1
    assert found[1].begins_s >= 2.0
    assert found[1].ends_s == pytest.approx(5.0, abs=0.1)


def test_words_that_stand_in_sentences_or_differ_from_the_text_are_taken_all_the_same() -> None:
    word = openai.SpokenWord
    segment = openai.Segment(
        " Well, yes.", 0.0, 2.0, [word(" Well", 0.0, 0.5), word("um", 0.6, 0.7), word("yes", 1, 2)]
    )
    found = list(openai.words_of(openai.Spoken("", segments=[segment]), 10.0, 12.0))
    assert [(one.word, one.punctuated, one.begins_s) for one in found] == [
        ("Well", "Well,", 10.0), ("um", "", 10.6), ("yes", "yes.", 11.0),
    ]  # fmt: skip


REFUSALS = {
    401: ("unauthorized (401)", True), 402: ("payment_required (402)", True), 413: ("too_large (413)", True),
    429: ("busy (429)", False), 500: ("failed (500)", False), 418: ("refused (418)", True),
    302: ("redirected (302)", True), 299: ("bad_answer", True),
}  # fmt: skip


@pytest.mark.parametrize("name", ["openai", pytest.param("deepgram", marks=pytest.mark.long)])
async def test_what_a_server_refuses_has_a_word_and_says_whether_it_is_worth_another_try(
    settings: TranscriptionSettings, speech: Speech, sound: Path, name: str
) -> None:
    for status, meant in REFUSALS.items():
        speech.answers.append(status)
        with pytest.raises(SpeechError) as caught:
            await transcriber(name, settings).transcribe(sound, "")
        assert (caught.value.reason, caught.value.lasts) == meant


async def test_where_nobody_can_be_asked_that_is_said(
    settings: TranscriptionSettings, sound: Path, tmp_path: Path
) -> None:
    async def why(name: str = "openai", file: Path = sound, **changed: object) -> str:
        with pytest.raises(SpeechError) as caught:
            await transcriber(name, replace(settings, **changed)).transcribe(file, "")
        return caught.value.reason

    (tmp_path / "spoilt").write_bytes(b"\xff\xfe")
    (tmp_path / "two").write_text("a\nb")
    assert await why(openai_key_file="") == "unauthorized (401)"
    assert await why(openai_key_file=str(tmp_path / "nothing")) == "key_unreadable"
    assert await why(openai_key_file=str(tmp_path / "spoilt")) == "key_unreadable"
    assert await why(openai_key_file=str(tmp_path / "two")) == "key_unreadable"
    assert await why(allowed_networks=[]) == "address_not_allowed"
    assert await why(allow_http=False) == "address_not_allowed"
    assert await why(openai_url="http://127.0.0.1:1/v1") == "connection_failed"
    assert await why(timeout_s=0.0) == "timeout"
    assert await why("whisper") == "not_configured"
    assert await why("whisper", whisper_model=str(tmp_path)) in (
        "engine_missing: pip install poolmgr[whisper]",
        "no_model: transcription.whisper_model",
    )
    (tmp_path / "none.ogg").write_bytes(b"no sound")
    assert await why("openai", tmp_path / "none.ogg") == "sound_unreadable"
    assert await why("deepgram", tmp_path / "none.ogg") == "refused (400)"


async def test_one_that_is_no_longer_wanted_is_left_at_once(
    settings: TranscriptionSettings, speech: Speech, sound: Path
) -> None:
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(transcriber("deepgram", settings).transcribe(sound, ""), name="ask")
        await asyncio.sleep(0)
        asking.cancel()
