"""How the upgrade scene judges what it finds on the machines."""

from types import SimpleNamespace
from typing import cast

import pytest

from lab.systemd.fleet import upgrade
from lab.systemd.fleet.fleet import AGENTS, MANAGERS, Fleet

NEW = "/opt/poolmgr/venv"
PROGRAMS = (*MANAGERS, *AGENTS)


def _fleet(*, programs: tuple[str, ...] = (), adopted: tuple[str, ...] = ()) -> Fleet:
    """`programs`: the venv of each. `adopted`: the bots of the browsers that each agent has taken over."""

    events = [{"event": "worker_adopted", "bot_id": bot_id} for bot_id in adopted]

    def computer(venv: str) -> SimpleNamespace:
        def unit(_: str) -> SimpleNamespace:
            return SimpleNamespace(main_pid=7)

        def found(*_: str) -> list[dict[str, str]]:
            return events

        def do(*_: str) -> str:
            return f"{venv}/bin/python\0{venv}/bin/poolmgr\0serve"

        return SimpleNamespace(inside=SimpleNamespace(unit=unit, events=found), machine=SimpleNamespace(do=do))

    computers = {name: computer(venv) for name, venv in zip(PROGRAMS, programs or (NEW,) * len(PROGRAMS), strict=True)}
    return cast("Fleet", SimpleNamespace(computers=computers))


@pytest.mark.parametrize("earlier", range(len(PROGRAMS) + 1))
def test_all_are_of_a_release_only_if_none_is_of_the_other(earlier: int) -> None:
    fleet = _fleet(programs=(upgrade.VENV,) * earlier + (NEW,) * (len(PROGRAMS) - earlier))
    assert upgrade.are_all_earlier(fleet) == (earlier == len(PROGRAMS))
    assert upgrade.are_all_new(fleet) == (earlier == 0)


@pytest.mark.parametrize("before", [0, 1, 3, 4])
def test_browsers_that_were_taken_over_before_or_are_in_no_call_do_not_count(before: int) -> None:
    earlier = ("b",) * before
    [agent, *_] = AGENTS
    assert upgrade.adopted(_fleet(adopted=earlier), agent) == before
    for newly, are_all in (
        (("c1", "c2", "c3"), False),
        (("c1", "c2", "c3", ""), False),
        (("c1", "c2", "c3", "c4"), True),
    ):
        assert upgrade.took_over(_fleet(adopted=earlier + newly), agent, before) is are_all
