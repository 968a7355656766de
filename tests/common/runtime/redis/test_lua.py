"""A declaration makes the call and the script's first lines: what goes in under a name comes out under it."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from common.runtime.redis.lua import FENCE, Call, Key, Keys, OptionalKey, Pairs, Script, Values
from tests.waiting import PATIENCE_S


@pytest.fixture
async def redis(redis_server: str) -> AsyncGenerator[Any]:
    client = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    yield client
    await client.aclose()


def everything(
    *,
    first_key: Key,
    maybe: OptionalKey,
    some: Keys,
    more: Keys,
    number: int,
    time: float,
    flag: bool,
    text: str,
    first: Pairs,
    second: Values,
    last: Pairs,
) -> list[bytes]: ...


ECHO = """
return {first_key, maybe or 'none', table.concat(some, '+'), table.concat(more, '+'), tostring(number + 1), time,
  tostring(flag), text, table.concat(first, '+'), table.concat(second, '+'), table.concat(last, '+'), LIFE_S, STATE}
"""


def script(folder: Path, stub: Any, body: str, *preludes: str) -> Script[..., Any]:
    (folder / f"{stub.__name__}.lua").write_text(body)
    return Script(stub, folder, {"LIFE_S": 60, "STATE": "stopped", "UNUSED": 1}, preludes)


async def test_each_part_arrives_under_its_name(redis: Any, tmp_path: Path) -> None:
    echo = script(tmp_path, everything, ECHO)
    parts: dict[str, Any] = {
        "first_key": "k1", "maybe": "k2", "some": ["k3", "k4"], "more": ["k5"], "number": 7, "time": 1800000000.123456,
        "flag": True, "text": "it's", "first": {"a": 1, "b": "2"}, "second": [b"x", "y"], "last": {"c": ""},
    }  # fmt: skip
    assert await echo(**parts).run(redis) == [
        *(b"k1", b"k2", b"k3+k4", b"k5", b"8", b"1800000000.123456", b"true", b"it's"),
        *(b"a+1+b+2", b"x+y", b"c+", 60, b"stopped"),
    ]
    parts |= {"maybe": None, "some": [], "more": [], "flag": False, "first": {}, "second": [], "last": {}}
    assert await echo(**parts).run(redis) == [
        *(b"k1", b"none", b"", b"", b"8", b"1800000000.123456", b"false", b"it's", b"", b"", b"", 60, b"stopped"),
    ]
    assert "UNUSED" not in echo.source


async def test_redis_is_told_every_key(tmp_path: Path) -> None:
    echo = script(tmp_path, everything, ECHO)
    call = echo(
        first_key="k1",
        maybe=None,
        some=["k3"],
        more=["k5"],
        number=7,
        time=1.0,
        flag=True,
        text="",
        first={},
        second=[],
        last={},
    )
    assert call.command()[:6] == ("EVALSHA", echo.digest, 4, "k1", "k1", "k3")


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [(bool, "return 1", True), (str, "return first_key", "k"), (list[bytes], "return {first_key}", [b"k"])],
    ids=["bool", "str", "list"],
)
async def test_the_answer_has_the_shape_that_the_stub_says(
    redis: Any, tmp_path: Path, kind: Any, body: str, expected: Any
) -> None:
    def answer(*, first_key: Key) -> Any: ...

    answer.__annotations__["return"] = kind
    says = script(tmp_path, answer, body)
    assert await says(first_key="k").run(redis) == expected


async def test_a_redis_that_lost_its_scripts_is_given_them(redis: Any, tmp_path: Path) -> None:
    def answer(*, first_key: Key) -> int: ...

    says = script(tmp_path, answer, "return 7")
    await redis.script_flush()
    assert [await says(first_key="k").run(redis) for _ in range(2)] == [7, 7]


async def test_a_script_of_lists_alone_only_reads_and_asks_no_replica(
    redis: Any, redis_server: str, tmp_path: Path
) -> None:
    def answer(*, keys: Keys, others: Keys) -> list[bytes]: ...

    says = script(tmp_path, answer, "return {keys[1], keys[2], others[1]}")
    await redis.script_flush()
    cautious = connect(RedisSettings(url=redis_server, wait_replicas=2, wait_s=0.02))
    for _ in range(2):  # the first time Redis does not have it
        assert await says(keys=["k", "l"], others=["o"]).read(cautious) == [b"k", b"l", b"o"]
    await cautious.aclose()


async def test_a_fenced_script_is_told_who_calls(redis: Any, tmp_path: Path) -> None:
    def answer(*, first_key: Key, word: str) -> list[bytes]: ...

    (tmp_path / f"_{FENCE}.lua").write_text("if epoch ~= '3' then return redis.error_reply('STALE') end\n")
    says = script(tmp_path, answer, "return {epoch_key, epoch, first_key, word}", FENCE)
    call: Call[list[bytes]] = says(first_key="k", word="w")
    assert await call.run(redis, ("e", 3)) == [b"e", b"3", b"k", b"w"]
    assert call.fenced("e", 3) == ("EVALSHA", says.digest, 2, "e", "k", 3, "w")


@pytest.mark.parametrize(
    "wrong", [{}, {"first_key": "k", "two": "k"}, {"two": "k"}], ids=["too few", "too many", "other"]
)
def test_a_call_with_other_parts_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    def answer(*, first_key: Key) -> int: ...

    with pytest.raises(TypeError):
        script(tmp_path, answer, "return 1")(**wrong)


def test_keys_stand_before_arguments_and_lists_after_what_stands_alone(tmp_path: Path) -> None:
    def answer(*, word: str, first_key: Key) -> int: ...

    with pytest.raises(TypeError, match=r"cannot declare answer.lua but in this order: first_key, word"):
        script(tmp_path, answer, "return 1")
