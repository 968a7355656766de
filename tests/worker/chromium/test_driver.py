"""The driver, asked while it is dying."""

import pytest
from playwright.async_api import APIRequest

from worker.chromium.driver import Driver


@pytest.mark.long
async def test_a_driver_whose_death_nobody_noticed_yet_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:  # as uvloop does, of a connection that is closed
        raise RuntimeError("unable to perform operation on <WriteUnixTransport closed=True>; the handler is closed")

    driver = Driver()
    await driver.start()
    try:
        assert await driver.answers()
        monkeypatch.setattr(APIRequest, "new_context", refuse)
        assert not await driver.answers()
    finally:
        await driver.stop()
