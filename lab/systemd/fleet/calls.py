"""Bots in their meetings while something is done to the fleet, and new ones all the time; and the judgement afterwards:
nobody was disturbed, nothing was lost, nothing came twice.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from lab.parts.bare_agent import LONG
from lab.systemd.fleet.beside import SHORT, SIMULATED
from lab.systemd.fleet.fleet import AGENTS, ROOM, Fleet
from lab.systemd.inside import until
from lab.systemd.report import FleetError

SETTLE_S: Final = 90.0

_LINK: Final = f"http://{ROOM}/r/simulated"
_FEW: Final = 3


class Calls:
    """`real`: the bots with browsers, as many from each agent's machine; `long`: those of VMs without browsers."""

    def __init__(self, fleet: Fleet, scene: str, *, of_each_agent: int = 1, simulated: int = 8) -> None:
        self.real = [f"{scene}-{agent}-{number}" for agent in AGENTS for number in range(of_each_agent)]
        self.long = [f"{LONG}-{scene}-{number}" for number in range(simulated)]
        self._fleet = fleet
        self._pushed_before = set(fleet.beside.pushed)
        self._browsers: dict[str, tuple[str, ...]] = {}
        self._expected = {bot_id: [f"came: {bot_id}"] for bot_id in self.real}
        self._over: set[str] = set()
        self._reasons = {bot_id: {"meeting_ended"} for bot_id in self.real}
        self._may_be_hit: set[str] = set()

    def begin(self) -> None:
        """All are in their meetings, and new jobs come."""
        fleet = self._fleet
        for bot_id in self.real:
            fleet.enter(bot_id, next(agent for agent in AGENTS if f"-{agent}-" in bot_id))
        for bot_id in self.long:
            fleet.beside.push(bot_id, _LINK, requires=SIMULATED)
        fleet.await_entered(*self.real)
        entries = fleet.beside.meetings.entries
        until(SETTLE_S, "the simulated calls have begun", lambda: all(entries[bot_id] for bot_id in self.long))
        fleet.beside.begin_jobs(_LINK)
        fleet.report.line(f"{len(self.real)} calls with browsers, {len(self.long)} without, and new jobs all the time")

    def expect(self, bot_id: str, attendance: Sequence[str], reason: str) -> None:
        """Of a bot that is to be disturbed: who came and went, but for the last going, and how it ends."""
        self._expected[bot_id] = list(attendance)
        self._reasons[bot_id] = {reason}

    def may_be_hit(self, bot_ids: Sequence[str], reasons: Sequence[str]) -> None:
        """These may be disturbed, and end as one of these."""
        self._may_be_hit |= set(bot_ids)
        self._reasons |= {bot_id: set(reasons) for bot_id in bot_ids}

    def ended(self, bot_id: str) -> None:
        """Its host has ended its meeting."""
        self._over.add(bot_id)

    def served_after(self, at: float) -> float:
        """When a bot whose job was confirmed later than then was in its meeting. Raises: FleetError."""
        beside = self._fleet.beside

        def first() -> float:
            later = [bot_id for bot_id, pushed in list(beside.pushed.items()) if pushed > at]
            came = [beside.meetings.first_at[bot_id] for bot_id in later if bot_id in beside.meetings.first_at]
            return min(came, default=0.0)

        return until(SETTLE_S, "a new bot is in its meeting", first)

    def undisturbed(self) -> None:
        """Check that everybody is where they were."""
        fleet = self._fleet
        went = {bot_id: fleet.attendance(bot_id) for bot_id in self.real if bot_id not in self._may_be_hit}
        wrong = [f"{bot_id}: {lines}" for bot_id, lines in went.items() if lines != self._expected[bot_id]]
        inside = fleet.beside.meetings.inside
        wrong += [f"{bot_id} left" for bot_id in self.long if bot_id not in inside]
        seen = "; ".join(wrong[:_FEW]) or f"{len(went)} and {len(self.long)}, as their meetings' hosts saw it"
        fleet.report.check("nobody in a call was disturbed", not wrong, seen)

    def give_up(self) -> None:
        """End what can be ended, so that the next scene has none of it."""
        beside = self._fleet.beside
        beside.cease_jobs()
        self._fleet.end_meetings()
        states = beside.states([bot_id for bot_id in beside.pushed if bot_id not in self._pushed_before])
        beside.leave([bot_id for bot_id, state in states.items() if state != "stopped"])

    def end(self) -> None:
        """End all calls, and judge. The fleet is whole again."""
        fleet, beside = self._fleet, self._fleet.beside
        beside.cease_jobs()
        pushed = [bot_id for bot_id in beside.pushed if bot_id not in self._pushed_before]
        over = [bot_id for bot_id in pushed if bot_id.startswith(SHORT)]
        self._until_ended(over)
        for bot_id in self.real:
            if bot_id not in self._over:
                fleet.end_meeting(bot_id)
        beside.leave(self.long)
        self._until_ended(pushed)
        ends, entries, doubles = beside.ends(), beside.meetings.entries, beside.meetings.doubles
        wrong = [f"{bot_id} ended {ends[bot_id]} times" for bot_id in pushed if ends[bot_id] != 1]
        bare = [bot_id for bot_id in pushed if bot_id in self.long or bot_id.startswith(SHORT)]
        wrong += [f"{bot_id} was in {entries[bot_id]} times" for bot_id in bare if entries[bot_id] != 1]
        wrong += doubles
        for bot_id, reasons in self._reasons.items():
            said = fleet.bot(bot_id).get("status_reason", "")
            if said not in reasons:
                wrong.append(f"{bot_id} ended as {said}, not {' or '.join(reasons)}")
            if bot_id in self._may_be_hit:
                fleet.report.line(f"{bot_id}: {said}, {fleet.attendance(bot_id)}")
        fleet.report.check(
            "every job that was confirmed came to one end, nobody was in twice",
            not wrong,
            "; ".join(wrong[:_FEW]) or f"{len(pushed)} jobs",
        )

    def _until_ended(self, bot_ids: Sequence[str]) -> None:
        beside = self._fleet.beside
        left: list[str] = []

        def ended() -> bool:
            states = beside.states(bot_ids)
            left[:] = [f"{bot_id} {state or 'has no record'}" for bot_id, state in states.items() if state != "stopped"]
            return not left and not beside.waiting()

        try:
            until(SETTLE_S, "all have ended", ended)
        except FleetError:
            self._fleet.report.check("all have ended", False, f"{len(left)} have not: {'; '.join(left[:_FEW])}")


@contextmanager
def calls(fleet: Fleet, scene: str, *, of_each_agent: int = 1, simulated: int = 8) -> Generator[Calls]:
    """They go on within; afterwards they are ended and judged, and the fleet is whole."""
    found = Calls(fleet, scene, of_each_agent=of_each_agent, simulated=simulated)
    try:
        found.begin()
        yield found
    except BaseException:
        found.give_up()
        raise
    fleet.heal()
    found.end()
    fleet.await_whole()
