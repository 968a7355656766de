"""The command hook: with programs that answer, refuse, hang, write without end, and leave children."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from poolmgr.providers.hook import Hook
from poolmgr.providers.provider import ProviderError
from poolmgr.scaling.steps import Group
from tests.waiting import wait_until


def hook(script: str, *arguments: str, timeout_s: float = 20.0) -> Hook:
    return Hook(["/bin/sh", "-c", script, "vms", *arguments], timeout_s)


async def test_each_question_is_one_object_on_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "asked"
    asked = hook('cat >>"$1"', str(file))
    await asked.grow(7)
    await asked.give_back("vm-3", 6)
    await asked.release("vm-9")
    await asked.admit("vm-8")
    await asked.close()
    assert file.read_text().splitlines() == [
        '{"do":"grow","to":7}',
        '{"do":"give_back","vm_id":"vm-3","left":6}',
        '{"do":"release","vm_id":"vm-9"}',
        '{"do":"admit","vm_id":"vm-8"}',
    ]


async def test_the_answer_to_look_says_what_there_is() -> None:
    # It does not read the question, and that is no fault.
    assert await hook("echo '{\"wanted\": 3}'").look() == Group(3)
    answer = (
        '{"wanted": 2, "vms": ["a-0", "a-1"], "ends_last": true, "leaving": ["a-1"], "arriving": ["a-2"], "more": 1}'
    )
    assert await hook(f"echo '{answer}'").look() == Group(2, frozenset({"a-0", "a-1"}), True, ("a-1",), ("a-2",))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo three", "cannot read what /bin/sh answered to look: JSON is malformed"),
        ("echo '{}'", "missing required field `wanted`"),
        ("echo no quota >&2; echo more >&2; exit 3", "/bin/sh ended with code 3: no quota"),
        ("exit 1", "/bin/sh ended with code 1: it said nothing"),
        ("kill -9 $$", "/bin/sh ended with code -9"),
        ("yes", "/bin/sh wrote more than 4,000,000 bytes"),
        ("yes >&2", "/bin/sh wrote more than 4,000,000 bytes"),
    ],
)
async def test_what_goes_wrong_is_said(script: str, said: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await hook(script).look()
    assert said in str(caught.value)
    assert "more" not in str(caught.value).removeprefix(said)


_FLOOD = """
import fcntl, os
fcntl.fcntl(2, fcntl.F_SETPIPE_SZ, 1 << 20)
while True:
    os.write(2, bytes(1 << 20))
"""


async def test_what_is_left_in_the_pipe_of_a_program_that_wrote_too_much_holds_nothing_up() -> None:
    for _ in range(5):  # it depends on how much is left
        with pytest.raises(ProviderError, match=r"wrote more than 4,000,000 bytes"):
            await Hook([sys.executable, "-ISc", _FLOOD], 20.0).look()


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ProviderError, match=r"cannot start /nowhere/vms \(scaling.command\): No such file"):
        await Hook(["/nowhere/vms"], 5).look()


async def test_a_program_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    file = tmp_path / "child"
    for limit_s in (1, 4, 16):
        began = time.monotonic()
        with pytest.raises(ProviderError, match=rf"was not done after {limit_s} s and was killed"):
            await hook('sleep 600 & echo $! >"$1"; wait', str(file), timeout_s=float(limit_s)).look()
        assert time.monotonic() - began < limit_s + 20
        if file.exists() and file.read_text():  # on a busy machine it may be killed before it has begun
            break
    child = int(file.read_text())

    def is_gone() -> bool:
        try:
            return psutil.Process(child).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await wait_until(is_gone)


async def test_a_child_that_holds_the_output_does_not_outlive_the_deadline() -> None:
    program = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print('{\"wanted\": 1}')"
    with pytest.raises(ProviderError, match="was killed"):
        await Hook([sys.executable, "-c", program], 2.0).look()
