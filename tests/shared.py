"""What the processes of the tests share: it is started once, before they are forked, if a test of theirs asks for it.
Alone each would start its own.
"""

from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.fork_server import ForkServer
from tests.guardian import guarded
from tests.moto_server import MotoServer


class Shared:
    """A plugin. Of a run with --at-once: the attributes; of one process: None."""

    def __init__(self) -> None:
        self.fork_server: ForkServer | None = None
        self.moto: MotoServer | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        config: Any = session.config
        if config.getoption("--at-once") < 2 or config.getoption("--collect-only"):
            return (yield)
        items: Any = session.items
        asked_for: set[str] = {name for item in items for name in getattr(item, "fixturenames", ())}
        folders = config._tmp_path_factory
        with ExitStack() as stack:
            stack.enter_context(guarded(folders.getbasetemp()))
            if "fork_server" in asked_for:
                self.fork_server = stack.enter_context(ForkServer())
            if "moto" in asked_for:
                self.moto = stack.enter_context(MotoServer(folders.mktemp("moto")))
            return (yield)
