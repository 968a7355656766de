"""Every command of docs/clients.md, run as it is shown: each makes one bot, which goes into its meeting."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.ways_in.conftest import QUEUES, TOKEN, House, Visit

DOCUMENT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
SHOWN: list[tuple[str, str, str]] = [
    (section.partition("\n")[0], language, text)
    for section in DOCUMENT.split("\n## ")[1:]
    for language, text in re.findall(r"```(sh|python)\n(.*?)```", section, re.DOTALL)
]
"""Section, language and text of each block of code."""


def test_every_way_in_is_shown() -> None:
    assert [(section, language) for section, language, _ in SHOWN] == [
        ("HTTP API", "sh"),
        ("HTTP API", "python"),
        ("Redis list", "sh"),
        ("Redis list", "python"),
        ("Redis stream", "sh"),
        ("Redis stream", "sh"),
        ("SQS", "python"),
    ]


@pytest.mark.parametrize(
    ("section", "language", "text"),
    [pytest.param(*each, marks=pytest.mark.long if each[0] == "SQS" else ()) for each in SHOWN],
    ids=lambda value: value if "\n" not in value else "",
)
async def test_what_is_shown_makes_one_bot(
    house: House, visit: Visit, moto: str, section: str, language: str, text: str
) -> None:
    await wait_until(visit.views.leads)
    before = {record["bot_id"] for record in await visit.records()}
    here = {
        "redis-cli ": f"redis-cli -e -s {house.url.removeprefix('unix://')} ",
        "redis://127.0.0.1:6379/0": house.url,
        "poolmgr:": f"{house.prefix}:",
        "http://127.0.0.1:8080": house.manager.api,
        "https://sqs.eu-west-1.amazonaws.com/123456789012/meetings": house.queue_url,
    }
    for shown, ours in here.items():
        text = text.replace(shown, ours)
    environment = {**os.environ, **QUEUES, "POOLMGR_TOKEN": TOKEN, "AWS_ENDPOINT_URL_SQS": moto}
    command = {"sh": ("bash", "-euc", text), "python": (sys.executable, "-c", text)}[language]
    await asyncio.to_thread(subprocess.run, command, env=environment, check=True, capture_output=True, timeout=100)

    async def new() -> set[str]:
        return {record["bot_id"] for record in await visit.records() if record["state"] == "stopped"} - before

    (bot_id,) = await wait_until(new)
    assert house.meetings.entries[bot_id] == 1
    assert len(await visit.records()) == len(before) + 1
