"""What is said in a real call whose page shows no captions, made words of by a server that really hears it: told to a
webhook while it is said, and written down.
"""

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from playwright.async_api import Browser

from common.config.settings import CaptureSettings, LiveSettings, TranscriptionSettings, WorkerSettings
from common.runtime.recordings.store import Store
from common.wire import minutes
from common.wire.messages import BotStreamed, BotTranscribed, Feeds
from common.wire.vocabulary import FeedStatus
from lab.speech.server import KEY, Speech, serving
from lab.speech.tones import PITCHES
from tests.waiting import wait_until
from tests.worker.capture.conftest import somebody_in
from tests.worker.conftest import pool_with
from tests.worker.live.test_audio_feed import go_in, leave
from tests.worker.live.test_captions import WEBHOOKS, Receiver, receiving
from worker.capture.recordings import Recordings
from worker.chromium.driver import Driver
from worker.live.feeds import LiveFeeds
from worker.transcript.minutes_outbox import MinutesOutbox

pytestmark = pytest.mark.asyncio(loop_scope="session")

SENTENCE: Final = ("alpha", "charlie", "delta")
WHOLE: Final = ("Ann", "Alpha charlie delta.")
WORDS: Final = f"""
  navigator.mediaDevices.getUserMedia = async () => {{
    const context = new AudioContext();
    const sent = context.createMediaStreamDestination();
    const [voice, loud] = [context.createOscillator(), context.createGain()];
    loud.gain.value = 0;
    voice.connect(loud).connect(sent);
    voice.start();
    for (let begins = 0; begins < 400; begins += 4) {{
      {json.dumps([PITCHES[word] for word in SENTENCE])}.forEach((hz, place) => {{
        voice.frequency.setValueAtTime(hz, begins + place * 0.6);
        loud.gain.setValueAtTime(0.3, begins + place * 0.6);
        loud.gain.setValueAtTime(0, begins + place * 0.6 + 0.45);
      }});
    }}
    return sent.stream;
  }};
"""


PATIENT_S: Final = 240.0


def in_time(report: dict[str, Any]) -> bool:
    """Whether the whole sentence was heard as it was said. From a busy machine its sound comes with holes, and makes
    other words of it, or the same ones closer together; then it is said again.
    """
    if not report["is_final"] or report["transcript"] != WHOLE[1]:
        return False
    starts: list[float] = [word["start"] for word in report["words"]]
    return all(abs(after - before - 0.6) <= 0.2 for before, after in pairwise(starts))


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_where_a_page_shows_no_captions_its_sound_is_made_words_of(
    tmp_path: Path, driver: Driver, room: str, somebodys: Browser
) -> None:
    key, reports, made = tmp_path / "key", list[BotStreamed](), list[BotTranscribed]()
    key.write_text(KEY)
    recordings = Recordings("vm1", tmp_path / "recordings", CaptureSettings(), None, lambda _: None)
    outbox = MinutesOutbox(
        "vm1", tmp_path / "minutes", Store(CaptureSettings(store=str(tmp_path / "store"))), made.append
    )
    receiver = Receiver()
    async with serving(Speech()) as speech, receiving(receiver), somebody_in(somebodys, room, WORDS):
        provider = TranscriptionSettings(
            live="deepgram_streaming", deepgram_url=speech.url, deepgram_key_file=str(key), allow_http=True,
            allowed_networks=["127.0.0.0/8"],
        )  # fmt: skip
        feeds = LiveFeeds("vm1", LiveSettings(), WEBHOOKS, recordings.record, reports.append, outbox, provider)
        settings = WorkerSettings(memory_reserve_mb=0)
        async with feeds, pool_with(tmp_path / "state", settings, driver, feeds.serve) as harness:
            harness.meeting = room
            await go_in(harness, Feeds(transcription_url=receiver.url, attributes='{"a":1}', transcript=True))
            await wait_until(lambda: len(receiver.finals) >= 2 and any(map(in_time, receiver.reports)), PATIENT_S)
            await speech.hang_up()
            before = len(receiver.finals)
            await wait_until(lambda: len(receiver.finals) >= before + 1)
            await leave(harness)
        async with asyncio.TaskGroup() as tasks:
            finishing = tasks.create_task(outbox.finish(set), name="finish")
            await wait_until(lambda: any(one.finished for one in made))
            finishing.cancel()
    whole = next(filter(in_time, receiver.reports))
    assert [word["word"] for word in whole["words"]] == [*SENTENCE]
    growing = [one for one in receiver.reports if not one["is_final"]]
    assert {one["transcript"] for one in growing} & {"Alpha.", "Alpha charlie."}
    statuses = [one.status for one in reports]
    assert FeedStatus.TRANSCRIBING in statuses
    assert FeedStatus.UNTRANSCRIBED in statuses  # while it had hung up
    assert statuses[-1] is FeedStatus.ENDED
    written = minutes.decode((tmp_path / "store" / "b1" / "1" / minutes.TRANSCRIPT).read_bytes())
    assert (written.provider, made[-1].by) == ("deepgram_streaming", "deepgram_streaming")
    assert WHOLE in [(one.speaker, one.text) for one in written.utterances]
    assert next(len(one.words) for one in written.utterances if one.text == WHOLE[1]) == 3
    assert speech.connections == 2
    said = msgspec.json.encode(reports).decode()
    assert not any(word in said for word in SENTENCE)
