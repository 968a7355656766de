"""A stage says which part is at fault and why, and leaves nothing behind."""

import socket
import sys
from collections.abc import AsyncGenerator

import pytest

from lab.parts import StageError
from lab.parts.ports import free_ports, listens
from lab.parts.stage import Stage
from tests.waiting import wait_until


@pytest.fixture
async def stage() -> AsyncGenerator[Stage]:
    async with Stage("test", {}) as stage:
        yield stage
    assert not stage.folder.exists()
    assert stage.left_behind() == []


async def test_a_part_that_ends_is_named_with_the_end_of_its_log(stage: Stage) -> None:
    stage.start("part", sys.executable, "-c", "print('out of luck'); exit(3)")
    with pytest.raises(StageError, match=r"^part ended with exit code 3; the end of its log:\nout of luck"):
        await stage.port_opens("part", free_ports(1)[0])


async def test_a_part_sees_no_settings_of_the_shell(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLMGR_REDIS__URL", "redis://a-real-fleet")
    monkeypatch.setenv("POOLMGR_CONFIG", "/etc/poolmgr/config.toml")
    monkeypatch.setenv("POOLMGR_WORKER__CHROMIUM", "/a/browser")
    stage.start("part", "env", POOLMGR_SEED="7")
    log = stage.folder / "part.log"
    await wait_until(lambda: "POOLMGR_SEED" in log.read_text())
    ours = [line for line in log.read_text().splitlines() if line.startswith("POOLMGR_")]
    assert {"POOLMGR_WORKER__CHROMIUM=/a/browser", "POOLMGR_SEED=7"} <= set(ours)
    assert [line for line in ours if "a-real-fleet" in line or line.startswith("POOLMGR_CONFIG")] == []


async def test_a_program_that_is_not_there_is_named(stage: Stage) -> None:
    with pytest.raises(StageError, match="cannot start part: no-such-program is not installed"):
        stage.start("part", "no-such-program")


async def test_a_part_that_listens_is_told_and_stopped_in_order(stage: Stage) -> None:
    script = "import signal, sys; signal.signal(15, lambda *_: sys.exit(5)); print(input(), flush=True); signal.pause()"
    stage.start("part", sys.executable, "-c", script, listens=True)
    stage.tell("part", "hello")
    await wait_until(lambda: (stage.folder / "part.log").read_text() == "hello\n")
    assert stage.end("part") == 5
    assert not stage.has("part")


async def test_what_ignores_its_end_goes_with_the_stage() -> None:
    async with Stage("test", {}) as stage:
        stage.start("deaf", "sh", "-c", "trap '' TERM; sleep 600 & wait", MARK=str(stage.folder))
        assert await stage.redis.ping()  # pyright: ignore[reportUnknownMemberType]
        await wait_until(lambda: len(stage.left_behind()) == 3)  # Redis, the shell and its child
        stage.destroy()
        await wait_until(lambda: stage.left_behind() == [])  # a child that was killed may still have to be let run


def test_ports_are_free_and_nobody_else_is_given_one_before_a_server_is_on_it_nor_after() -> None:
    ports = free_ports(5)
    assert len({*ports, *free_ports(5)}) == 10
    assert not any(map(listens, ports))
    for port in ports:
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port)):
                assert listens(port)
            with socket.socket() as somebody, pytest.raises(OSError, match="in use"):
                somebody.bind(("127.0.0.1", port))
