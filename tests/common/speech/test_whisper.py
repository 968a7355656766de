"""The offline engine, where it is installed, with a model that a package brings and a synthetic voice: `./dev setup`
brings all three.
"""

from pathlib import Path
from typing import Any

import av
import pytest

from common.config.settings import TranscriptionSettings
from common.speech.choice import transcriber
from common.speech.provider import SpeechError
from lab.speech.voice import SENTENCE, missing, model, speak, words

pytestmark = pytest.mark.timeout(600)  # at the lowest priority the engine waits for whatever else the machine does


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken")
    speak(folder / "said.wav")
    source: Any = av.open(str(folder / "said.wav"))
    target: Any = av.open(str(folder / "said.ogg"), "w", format="ogg")
    with source, target:
        stream = target.add_stream("libopus", rate=48_000, layout="mono")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    return folder / "said.ogg"


installed = pytest.mark.skipif(
    bool(missing()),
    reason=f"there is no {missing()}",
)


@installed
async def test_speech_becomes_words_on_this_machine(spoken: Path) -> None:
    found = await transcriber("whisper", TranscriptionSettings(whisper_model=str(model()))).transcribe(spoken, "en")
    assert [one.word for one in found] == words(SENTENCE)
    assert (found[0].punctuated, found[-1].punctuated[:-1]) == ("Good", "year")
    assert all(one.begins_s <= one.ends_s for one in found)
    assert [one.begins_s for one in found] == sorted(one.begins_s for one in found)


@installed
async def test_an_engine_that_needs_more_memory_than_it_may_have_costs_only_the_transcript(spoken: Path) -> None:
    settings = TranscriptionSettings(whisper_model=str(model()), whisper_memory_mb=256)
    with pytest.raises(SpeechError, match=r"engine_failed \(exit") as caught:
        await transcriber("whisper", settings).transcribe(spoken, "en")
    assert not caught.value.lasts
