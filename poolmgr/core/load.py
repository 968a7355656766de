"""The load that a bot is expected to put on its VM, by what is recorded of its meeting.

The figures are settings, whose defaults were measured (docs/recording.md).
"""

from enum import StrEnum
from typing import NamedTuple

from common.config.settings import CaptureSettings, PoolSettings
from common.jobs.record import Job
from common.jobs.warnings import LIVE


class JobKind(StrEnum):
    """A bot that only listens; one whose meeting's sound is recorded, or sent live to its client or to
    a provider; one whose picture is recorded."""

    LISTENS = "listens"
    SOUND = "sound"
    PICTURE = "picture"


def wants_display(kind: JobKind) -> bool:
    """Whether a bot of that kind is to have a worker with a virtual display, if there is one: recording a picture from
    it takes less of the processors than a tab does. Others are to leave those workers to it.
    """
    return kind is JobKind.PICTURE


class Cost(NamedTuple):
    """The load of one bot. `cpu_share`: processors; 1.0 is one processor in full. `memory_mb`: memory beyond that of a
    worker whose bot only listens.
    """

    cpu_share: float
    memory_mb: int


def kind_of(job: Job, capture: CaptureSettings) -> JobKind:
    """The kind of a job's bot, from what the job wants and what the fleet records at all."""
    records = bool(capture.store) and not job.is_probe
    if records and job.video and capture.video != "off":
        return JobKind.PICTURE
    says = bool(job.live_transcription_url) or job.transcript
    is_heard = bool(job.live_audio_url) or (says and job.speech_live in LIVE)
    return JobKind.SOUND if (records and not job.no_audio) or is_heard else JobKind.LISTENS


def cost(kind: JobKind, settings: PoolSettings) -> Cost:
    match kind:
        case JobKind.LISTENS:
            return Cost(settings.listens_cpu_share, 0)
        case JobKind.SOUND:
            return Cost(settings.sound_cpu_share, settings.sound_memory_mb)
        case _:  # PICTURE
            return Cost(settings.picture_cpu_share, settings.picture_memory_mb)


def expected_processors(bots: dict[JobKind, int], settings: PoolSettings) -> float:
    """The expected load of so many bots of each kind together."""
    return sum(number * cost(kind, settings).cpu_share for kind, number in bots.items())
