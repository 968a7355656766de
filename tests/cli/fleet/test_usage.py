"""`usage`: what is shown of what each token used."""

import time

import pytest
from redis import Redis

from poolmgr.store.keys import Keys
from poolmgr.store.usage import day_of
from tests.cli.conftest import CommandLine


@pytest.fixture
def used(redis: Redis, keys: Keys) -> tuple[str, str]:
    """On which days: a week ago, and today."""
    today, last_week = day_of(time.time()), day_of(time.time() - 7 * 86400)
    redis.hset(
        keys.usage(today),
        mapping={
            "crm:bots": 3, "crm:joined": 2, "crm:in_meeting_s": "90.5", "crm:recordings": 1, "crm:audio_s": "60",
            "crm:stored_bytes": 700_000, ":bots": 1,
        },
    )  # fmt: skip
    redis.hset(keys.usage(last_week), mapping={"crm:bots": 1, "sales:bots": 4})
    return last_week, today


@pytest.mark.usefixtures("used")
def test_each_token_has_a_row_for_the_whole_time(poolmgr: CommandLine) -> None:
    heading, by_redis, crm, sales = poolmgr("usage").stdout.splitlines()
    assert heading.split() == ["TOKEN", "BOTS", "JOINED", "IN", "MEETING", "RECORDINGS", "SOUND", "STORED"]
    assert by_redis.split()[:3] == ["(by", "Redis)", "1"]
    assert crm.split() == ["crm", "4", "2", "1m", "30s", "1", "1m", "00s", "0.7", "MB"]
    assert sales.split()[:2] == ["sales", "4"]


def test_days_and_tokens_can_be_chosen_and_programs_are_told_numbers(
    used: tuple[str, str], poolmgr: CommandLine
) -> None:
    last_week, today = used
    assert [one["owner"] for one in poolmgr.json("usage", "--since", "1d")] == ["", "crm"]
    [crm] = poolmgr.json("usage", "--who", "crm")
    assert crm == {
        "owner": "crm", "bots": 4, "joined": 2, "in_meeting_s": 90.5, "recordings": 1, "audio_s": 60.0,
        "stored_bytes": 700_000,
    }  # fmt: skip
    days = poolmgr.json("usage", "--by-day", "--who", "crm")
    assert [(day["day"], day["bots"]) for day in days] == [(last_week, 1), (today, 3)]
    assert today in poolmgr("usage", "--by-day").stdout


def test_nothing_was_used(poolmgr: CommandLine) -> None:
    assert "nothing was used" in poolmgr("usage", "--since", "999999d").stderr
    assert poolmgr.json("usage") == []
