"""What is said of a Redis that fails over: by real sentinels, and by what they may say."""

import re
from pathlib import Path

import pytest

from common.config.redis_url import Node
from common.config.settings import RedisSettings
from common.runtime.doctor import redis
from common.runtime.doctor.checks import Severity, carry_out
from common.runtime.doctor.failover import Standing, of_many, of_one
from common.runtime.redis.failover import topology
from common.runtime.redis.failover.topology import Answer, Claim
from lab.parts.redis_fleet import WatchedRedis

OK, WARNING, ERROR = Severity.OK, Severity.WARNING, Severity.ERROR
SAFE = Standing(replicas=2, needs=1, waits_for=1)
HERE = Answer(Claim(3, Node("10.0.0.1", 6379)))
THERE = Answer(Claim(2, Node("10.0.0.2", 6379)))
SILENT = "10.0.1.3:26379 does not answer"


def said(*answers: Answer | str) -> dict[Node, Answer | str]:
    return {Node(f"10.0.1.{number}", 26379): answer for number, answer in enumerate(answers, start=1)}


@pytest.mark.parametrize(
    ("now", "answers", "severity", "word"),
    [
        (SAFE, [HERE] * 3, OK, "primary 10.0.0.1:6379, by 3 of 3 sentinels; replicas 2, min-replicas-to-write 1"),
        (SAFE._replace(needs=None), [HERE] * 3, OK, "min-replicas-to-write unknown"),
        (SAFE, [HERE, HERE, SILENT], WARNING, f"by 2 of 3 sentinels; replicas 2, .*{SILENT}"),
        (SAFE, [HERE, HERE, THERE], WARNING, "10.0.0.1:6379 or 10.0.0.2:6379"),
        (SAFE, [HERE, SILENT, SILENT], ERROR, "by 1 of 3"),
        (SAFE, [Answer(None)], ERROR, "primary unknown, by 0 of 1"),
        (SAFE, [HERE], WARNING, "by 1 of 1"),
        (Standing(0, 0, 0), [HERE] * 3, WARNING, "replicas 0"),
        (Standing(1, 0, 0), [HERE] * 3, WARNING, "redis.wait_replicas 0"),
        (Standing(1, 0, 2), [HERE] * 3, ERROR, "redis.wait_replicas 2"),
    ],
)
def test_who_takes_over_and_what_that_undoes(
    now: Standing, answers: list[Answer | str], severity: Severity, word: str
) -> None:
    found = of_many(now, said(*answers), "sentinel")
    assert found.severity is severity
    assert re.search(word, found.what), found
    assert bool(found.todo) is (severity is not OK)


def test_a_single_server_needs_the_replicas_that_writes_wait_for() -> None:
    assert of_one(Standing(0, 0, 0)).severity is OK
    assert "min-replicas-to-write asks for 1" in of_one(Standing(0, 1, 0)).todo
    assert "redis.wait_replicas asks for 2" in of_one(Standing(1, 0, 2)).todo


async def test_real_sentinels_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "ANSWER_S", 30.0)  # on a busy machine a sentinel takes longer
    with WatchedRedis(tmp_path, replicas=1, down_after_s=30.0) as watched:
        settings = RedisSettings(url=watched.url, wait_replicas=1)
        found = {diagnosis.name: diagnosis for diagnosis in await carry_out(redis.checks(settings))}
        primary = watched.redises[0].port
        assert found["redis failover"].severity is OK, found
        assert f"primary 127.0.0.1:{primary}, by 3 of 3 sentinels; replicas 1" in found["redis failover"].what
        assert f"on port {primary}" in found["redis"].what
        watched.sentinels[0].kill()
        watched.sentinels[1].kill()
        [found_now] = await carry_out([redis.checks(settings)[3]])
    assert found_now.severity is ERROR
    assert "by 1 of 3 sentinels" in found_now.what
