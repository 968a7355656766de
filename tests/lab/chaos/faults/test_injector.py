"""What faults that come together may explain, and each of them alone may not."""

from collections.abc import Coroutine
from typing import Any, cast

import pytest

from common.wire.vocabulary import Reason
from lab.chaos.faults.catalogue import BY_NAME, Aim, Target
from lab.chaos.faults.injection import Blow
from lab.chaos.faults.injector import Inflictor
from lab.chaos.system.stage import Stage


class Nothing:
    """A task group that carries nothing out."""

    def create_task(self, what: Coroutine[Any, Any, None], name: str) -> None:
        del name
        what.close()


@pytest.mark.parametrize(
    ("faults", "may_crash"),
    [
        ("redis without its replicas, agent's state folder full, agent killed", True),
        ("agent's state folder read-only, redis full, agent and driver killed", True),
        ("agent's state folder full, agent killed", False),
        ("redis full, agent killed", False),
        ("redis full, agent's state folder full, agent cut off", False),
        ("redis full, agent's state folder full, leader killed", False),
        ("agent killed, redis full, agent's state folder full", False),
    ],
)
def test_only_an_agent_that_could_write_nowhere_takes_ends_with_it(faults: str, may_crash: bool) -> None:
    inflictor = Inflictor(cast(Stage, None), lambda _blow, _target: None, {})
    inflictor._group = cast(Any, Nothing())  # pyright: ignore[reportPrivateUsage]
    for name in faults.split(", "):
        aim = BY_NAME[name].aim
        target = "redis" if aim is Aim.REDIS else "vm-1" if aim is Aim.AGENT else "manager-1"
        inflictor._deal(Blow(0.0, name, 3.0), Target(target, 1, target))  # pyright: ignore[reportPrivateUsage]
    assert any(Reason.BROWSER_CRASHED in excuse.reasons for excuse in inflictor.excuses) is may_crash
