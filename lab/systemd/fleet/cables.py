"""Machines whose cable is out: they go on, and nobody hears of them."""

import time
from typing import Final

from lab.systemd.fleet import steps
from lab.systemd.fleet.calls import SETTLE_S, calls
from lab.systemd.fleet.fleet import Fleet
from lab.systemd.inside import AGENT, throughout, until

_LED_S: Final = 8.0
_SHORT_S: Final = 8.0
_MINUTE_S: Final = 60.0
_SENT_IN_AGAIN_S: Final = 150.0


def of_agent(fleet: Fleet) -> None:
    """For some seconds, in which its agent is killed, too: no call notices. Then until the manager has given the
    machine up, after lost_after_s, a minute. The meeting is out of reach, too.
    """
    again = "cable-again"
    with calls(fleet, "cable") as going:
        fleet.enter(again, on_worker_lost="rejoin")
        fleet.await_entered(again)
        first = fleet.bot(again)["vm_id"]
        [mine] = [bot_id for bot_id in going.real if f"-{first}-" in bot_id]
        _cut(fleet, first)
        fleet.computers[first].machine.do("systemctl", "kill", "-s", "KILL", "--kill-whom=main", AGENT)
        time.sleep(_SHORT_S)
        fleet.net.mend(first)
        fleet.await_whole()
        fleet.report.line(f"the cable was out for {_SHORT_S:g} s, and its agent was killed meanwhile")
        going.undisturbed()
        _cut(fleet, first)
        began = time.monotonic()

        def is_elsewhere() -> str:
            record = fleet.bot(again)
            found = record.get("vm_id", "")
            return found if record.get("state") == "in_meeting" and found != first else ""

        second = until(_SENT_IN_AGAIN_S, f"{again} is in its meeting again", is_elsewhere)
        seen = f"{time.monotonic() - began:.0f} s after the cut, from {second}; before from {first}"
        fleet.report.check("a bot that is to rejoin is in again, from another", second != first, seen)
        reason = until(_SENT_IN_AGAIN_S, f"{mine} has ended", lambda: fleet.bot(mine).get("status_reason"))
        fleet.report.check("one that is not to is given up", reason == "heartbeat_timeout", reason)
        fleet.net.mend(first)
        fleet.report.line("the cable is in again")
        fleet.await_whole()
        went, attempt = fleet.attendance(again), fleet.bot(again).get("attempt")
        once = went == [f"came: {again}", f"went: {again}", f"came: {again}"]
        fleet.report.check("it was never in twice at a time", once, f"{went}, attempt {attempt}")
        going.expect(mine, [f"came: {mine}", f"went: {mine}"], "heartbeat_timeout")
        going.undisturbed()
        fleet.end_meeting(again)
        reason = until(SETTLE_S, f"{again} has ended", lambda: fleet.bot(again).get("status_reason"))
        fleet.report.check("and it ends once", reason == "meeting_ended", f"{reason}, attempt {attempt}")


def of_leader(fleet: Fleet) -> None:
    """For a minute. Redis' primary is on another machine."""
    steps.part_leader_and_primary(fleet)
    with calls(fleet, "leader-cable") as going:
        leader = fleet.leader()
        began = time.monotonic()
        _cut(fleet, leader)
        led_s = steps.until_led(fleet, leader) - began
        fleet.report.check("the other one leads", led_s < _LED_S, f"{led_s:.1f} s after the cut")
        _wait_out_the_minute(fleet, leader, began)
        going.undisturbed()


def of_both(fleet: Fleet) -> None:
    """For a minute: leader and primary go on together, without the others. What that Redis takes is undone later."""
    steps.join_leader_and_primary(fleet)
    with calls(fleet, "both-cable") as going:
        began = time.monotonic()
        before = steps.fails_over(fleet, lambda primary: _cut(fleet, primary), going.served_after)
        _wait_out_the_minute(fleet, before, began)
        going.undisturbed()


def _wait_out_the_minute(fleet: Fleet, before: str, began: float) -> None:
    """Check that one manager leads all the time, and that the other one stands by when it is back."""
    steps.a_whole_job(fleet, f"{before}-cable-meanwhile-{began:.0f}")
    epoch = fleet.epoch(fleet.primary())
    left_s = max(0.0, _MINUTE_S - (time.monotonic() - began))
    steady = throughout(left_s, lambda: fleet.leader() not in ("", before))
    fleet.net.mend(before)
    fleet.report.line("the cable is in again")
    fleet.await_whole()
    after = fleet.epoch(fleet.primary())
    good = steady and fleet.leader() != before and after == epoch
    fleet.report.check("when it is back, it stands by", good, f"{fleet.leader()} leads, epoch {epoch}, then {after}")


def _cut(fleet: Fleet, name: str) -> None:
    fleet.net.cut(name)
    fleet.report.line(f"the cable of {name} is out")
