"""An account's state file, made by hand: on a virtual display here, with a person who signs in at once."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from common.config.settings import AccountSettings, WorkerSettings
from worker.chromium.accounts import read
from worker.chromium.sign_in import CannotSignInError, account_named, sign_in


async def nothing() -> None:
    pass


@pytest.fixture
async def display() -> AsyncGenerator[str]:
    number, pipe = os.pipe()
    server = await asyncio.create_subprocess_exec(
        "Xvfb", "-displayfd", str(pipe), pass_fds=[pipe], stderr=asyncio.subprocess.DEVNULL
    )
    os.close(pipe)
    with os.fdopen(number) as told:
        yield f":{(await asyncio.to_thread(told.readline)).strip()}"
    server.terminate()
    await server.wait()


@pytest.mark.long
async def test_what_a_person_signed_in_to_is_kept_for_the_agent_alone(
    display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    account = AccountSettings("ann", "room", str(tmp_path / "ann.json"))
    # A headless shell has no window. That this one is not there shows that another browser is taken.
    await sign_in(account, WorkerSettings(chromium="/nowhere/chromium-headless-shell"), nothing)
    assert (tmp_path / "ann.json").stat().st_mode & 0o777 == 0o600
    assert read(account).cookies == []
    assert os.listdir(tmp_path) == ["ann.json"]


async def test_without_a_display_it_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    account = AccountSettings("ann", "room", str(tmp_path / "ann.json"))
    with pytest.raises(CannotSignInError, match="DISPLAY"):
        await sign_in(account, WorkerSettings(), nothing)
    assert os.listdir(tmp_path) == []


def test_an_unknown_account_is_answered_with_those_that_are_known() -> None:
    account = AccountSettings("ann", "room", "/ann.json")
    assert account_named("ann", WorkerSettings(accounts=[account])) == account
    with pytest.raises(CannotSignInError, match=r"no account 'eve' .*known: ann"):
        account_named("eve", WorkerSettings(accounts=[account]))
