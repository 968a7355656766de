"""Chooses the provider of speech to text that a name stands for."""

from common.config.settings import TranscriptionSettings
from common.speech.provider import SpeechError, Transcriber


def transcriber(name: str, settings: TranscriptionSettings) -> Transcriber:
    """The transcriber with that name, if the settings offer it. Raises: SpeechError if they do not."""
    if name not in settings.offered:
        raise SpeechError("not_configured", lasts=True)
    # Each is imported when it is chosen, because an HTTP client and a decoder take 25 MB.
    match name:
        case "deepgram":
            from common.speech.deepgram import Deepgram

            return Deepgram(settings)
        case "openai":
            from common.speech.openai import OpenAi

            return OpenAi(settings)
        case _:
            from common.speech.whisper import Whisper

            return Whisper(settings)
