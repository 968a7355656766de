"""A bot that records says so in its name where the operator wants that, and no other bot does."""

from typing import Any

import pytest
from msgspec.structs import replace

from common.config.settings import CaptureSettings
from common.jobs.naming import name_in_meeting
from common.jobs.record import Job
from common.jobs.warnings import SHOWN_NAME

SUFFIX = " (recording)"


@pytest.mark.parametrize(
    ("name", "platform", "job", "capture", "shown"),
    [
        ("Notes", "zoom", {}, {}, "Notes (recording)"),
        ("Notes", "zoom", {}, {"name_suffix": ""}, "Notes"),
        ("Notes (recording)", "zoom", {}, {}, "Notes (recording)"),
        ("Notes", "zoom", {}, {"store": ""}, "Notes"),
        ("Notes", "zoom", {"no_audio": True}, {}, "Notes"),
        ("Notes", "zoom", {"no_audio": True, "live_audio_url": "wss://x.example/"}, {}, "Notes"),
        ("Notes", "zoom", {"no_audio": True, "video": True}, {}, "Notes (recording)"),
        ("Notes", "zoom", {"no_audio": True, "video": True}, {"video": "off"}, "Notes"),
        ("Notes", "zoom", {"is_probe": True}, {}, "Notes"),
        ("n" * 60, "zoom", {}, {}, "n" * 60 + SUFFIX),
        ("n" * 50, "teams", {}, {}, "n" * 38 + SUFFIX),
        ("n" * 38, "teams", {}, {}, "n" * 38 + SUFFIX),
        ("n" * 40 + SUFFIX, "teams", {}, {}, "n" * 38 + SUFFIX),
        ("\U0001f600" * 30, "teams", {}, {}, "\U0001f600" * 19 + SUFFIX),
        ("n" + "\U0001f600" * 30, "teams", {}, {}, "n" + "\U0001f600" * 18 + SUFFIX),
    ],
)
def test_the_name_says_that_the_meeting_is_recorded(
    name: str, platform: str, job: dict[str, Any], capture: dict[str, Any], shown: str
) -> None:
    asked = Job(platform=platform, meeting_url="http://x/", bot_name=name, payload="{}", **job)
    settings = replace(CaptureSettings(store="/kept", name_suffix=SUFFIX), **capture)
    assert name_in_meeting(asked, settings) == shown
    assert len(shown) <= SHOWN_NAME.get(platform, 1000)
