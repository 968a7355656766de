"""The name with which a bot joins: its job's, and where its meeting is recorded with what the operator adds to it."""

from common.config.settings import CaptureSettings
from common.jobs.record import Job
from common.jobs.warnings import SHOWN_NAME


def name_in_meeting(job: Job, capture: CaptureSettings) -> str:
    """With `capture.name_suffix` once if the meeting is to be recorded. The job's name is cut where the platform would
    cut what stands after it.
    """
    name, suffix = job.bot_name, capture.name_suffix
    sees = job.video and capture.video != "off"
    is_recorded = bool(capture.store) and not job.is_probe and (sees or not job.no_audio)
    if not suffix or not is_recorded:
        return name
    name, most = name.removesuffix(suffix), SHOWN_NAME.get(job.platform)
    return (name if most is None else _cut(name, most - len(_units(suffix)) // 2)) + suffix


def _cut(text: str, most: int) -> str:
    return _units(text)[: 2 * most].decode("utf-16-le", "ignore")


def _units(text: str) -> bytes:
    """Two bytes for each character as a page's field counts them: UTF-16."""
    return text.encode("utf-16-le", "surrogatepass")
