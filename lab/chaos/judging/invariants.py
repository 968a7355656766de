"""The invariants. Each is a pure function of what was seen from outside, and knows nothing of what manager or agent
meant to do.

A violation is one sentence and the bot's story. One that may pass with time `heals`; the others do not.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from common.wire.vocabulary import BotState, Reason
from lab.chaos.faults.catalogue import Aim
from lab.chaos.faults.poisoned import MOST_ENDS
from lab.chaos.judging.outside import Change, World, is_idle, tag_of
from lab.chaos.observers.witness import Mark, Seen
from lab.chaos.system.load import Push
from lab.chaos.system.stage import LOST_AFTER_S
from worker.decide.lifecycle import WATCHED_S

_ENDLESS: Final = ("jobs", "jobs:taken", "bots:live")
"""Keys without a time to live, which docs/redis-keys.md bounds in another way: lists and an index that are empty at the
end.
"""
_REJECTED: Final = "rejected"
_NOT_AN_ATTEMPT: Final = (BotState.SCHEDULED, BotState.QUEUED)

_OUT_WITHIN_S: Final = 2.0  # pages look every second whether an agent attends to them
_ORDERED_OUT_WITHIN_S: Final = 5.0  # after a failover: a leader is elected, and hears of a bot that it does not know


class Violation(NamedTuple):
    """`kind`: which invariant. `bot_id`: the bot whose story is told with it. `heals`: it may pass with time."""

    kind: str
    sentence: str
    bot_id: str = ""
    heals: bool = False


def violations(world: World) -> list[Violation]:
    seen = _Index(world)
    return [found for invariant in INVARIANTS for found in invariant(world, seen)]


class _Index:
    """What several invariants look up."""

    def __init__(self, world: World) -> None:
        self.changes: dict[str, list[Change]] = defaultdict(list)
        for change in world.changes:
            self.changes[change.bot_id].append(change)
        self.marks: dict[str, list[Mark]] = defaultdict(list)
        for mark in world.marks:
            self.marks[mark.tag].append(mark)
        self.bots: dict[str, list[str]] = defaultdict(list)  # tag -> bot ids
        self.tags: dict[str, str] = {}
        for bot_id, record in world.records.items():
            self.tags[bot_id] = tag_of(record)
            self.bots[self.tags[bot_id]].append(bot_id)
        self.pushes: dict[str, Push] = {push.tag: push for push in world.pushes}


def no_job_is_lost(world: World, seen: _Index) -> Iterator[Violation]:
    for push in world.pushes:
        bots = seen.bots.get(push.tag, [])
        if push.times and not bots and not _may_be_gone(world, push.at):
            sentence = f"job {push.tag} ({push.form}) was accepted and is no bot"
            yield Violation("job lost", sentence, push.bot_id, heals=True)
        if len(bots) > 1:
            yield Violation("job doubled", f"job {push.tag} ({push.form}) became {len(bots)} bots: {bots}", bots[0])
    if world.waiting or world.taken:
        where = f"{world.waiting} in `jobs`, {world.taken} in `jobs:taken`"
        yield Violation("job left", f"jobs are left over: {where}", heals=True)


def _may_be_gone(world: World, at: float) -> bool:
    """Whether Redis was set back afterwards to a copy without it."""
    return any(back.may_lack(at) for back in world.rollbacks)


def no_attempt_is_used_again(world: World, seen: _Index) -> Iterator[Violation]:
    """Also checks attempts that Redis has forgotten, because the agents have not forgotten them."""
    for back in world.rollbacks[-1:]:
        for change in world.changes:
            again = (change.bot_id, change.attempt) in world.attempts_before
            if change.state == BotState.ASSIGNED and again and change.written_at > back.restored_at:
                sentence = f"bot {change.bot_id} was given attempt {change.attempt} a second time"
                yield Violation("attempt used again", sentence, change.bot_id)
    for used, first in world.epochs:
        if first and first <= used:
            sentence = f"epoch {first} was given a second time: {used} had been reached when Redis was set back"
            yield Violation("epoch used again", sentence)
    del seen


def what_is_rejected_is_dead(world: World, seen: _Index) -> Iterator[Violation]:
    rejected, copied = Counter(dead.mark for dead in world.dead), Counter(dead.tag for dead in world.dead)
    for bad in world.bad:
        if _may_be_gone(world, bad.at):
            continue
        if rejected[bad.mark] < bad.times:
            yield Violation("rejected job lost", f"the bad job {bad.mark} is not on the dead stream", heals=True)
    for push in world.pushes:
        copies = copied[push.tag]
        if copies < push.times - 1 and not _may_be_gone(world, push.at):
            sentence = f"job {push.tag} was handed in {push.times} times, and {copies} copies were rejected"
            yield Violation("rejected job lost", sentence, push.bot_id, heals=True)
        if copies and not seen.bots.get(push.tag):
            sentence = f"job {push.tag} ({push.form}) was rejected and is no bot"
            yield Violation("good job rejected", sentence, push.bot_id)


def every_bot_ends_once(world: World, seen: _Index) -> Iterator[Violation]:
    for bot_id, record in world.records.items():
        ends = [change for change in seen.changes[bot_id] if change.state == BotState.STOPPED]
        if record["state"] != BotState.STOPPED:
            yield Violation("not ended", f"bot {bot_id} is still {record['state']}", bot_id, heals=True)
        elif not ends:
            yield Violation("end not told", f"bot {bot_id} has ended, and `status` does not say so", bot_id, heals=True)
        if len(ends) > 1:
            yield Violation("ended twice", f"bot {bot_id} ended {len(ends)} times", bot_id)
        if ends and not ends[0].reason:
            yield Violation("end without reason", f"bot {bot_id} ended without a reason", bot_id)
        if ends and record["state"] == BotState.STOPPED and record["status_reason"] != ends[0].reason:
            sentence = f"bot {bot_id} ended as {ends[0].reason}, and its record says {record['status_reason']}"
            yield Violation("end contradicted", sentence, bot_id)
    left = sorted(world.live & {b for b, record in world.records.items() if record["state"] == BotState.STOPPED})
    if left:
        yield Violation("index wrong", f"`bots:live` still has ended bots: {left[:5]}", left[0], heals=True)


def every_end_is_explained(world: World, seen: _Index) -> Iterator[Violation]:
    """Every end is explained by the meeting, by a request to leave, or by a fault on the bot's VM at that time."""
    for bot_id, record in world.records.items():
        push = seen.pushes.get(seen.tags[bot_id])
        if record["state"] != BotState.STOPPED or push is None:
            continue
        reason = record["status_reason"]
        if push.rejoins and reason == "cut_off":  # it may be sent in several times
            continue
        asked = bot_id in world.asked and reason == "user_requested"
        missed = reason == "never_admitted" and _may_be_missed(seen.changes[bot_id], seen.marks[push.tag])
        if reason in push.ends_as or asked or missed:
            continue
        changes = seen.changes[bot_id]
        vm_ids, pids = {change.vm_id for change in changes}, {mark.pid for mark in seen.marks[push.tag]}
        begin, end = changes[0].written_at, changes[-1].written_at
        explained = any(
            reason in excuse.reasons and excuse.vm_id in vm_ids and excuse.begin <= end and begin <= excuse.end
            for excuse in world.excuses
            if not excuse.pid or excuse.pid in pids
        )
        if not explained:
            meant = ", ".join(sorted(push.ends_as))
            detail = record["reason_detail"]
            sentence = f"bot {bot_id} ended as {reason} ({detail}), was to end as {meant}, and no fault explains it"
            yield Violation("end unexplained", sentence, bot_id)


def _may_be_missed(changes: list[Change], marks: list[Mark]) -> bool:
    """Whether nobody told of the stay in the meeting, and it was so short that it fits between two looks."""
    if any(change.state == BotState.IN_MEETING for change in changes):
        return False
    inside = [mark for mark in marks if mark.seen is Seen.INSIDE][-1:]
    return any(
        mark.visit == came.visit and 0 <= mark.at - came.at <= WATCHED_S
        for came in inside
        for mark in marks
        if mark.seen in (Seen.LEFT, Seen.GONE)
    )


def nobody_is_in_a_meeting_twice(world: World, seen: _Index) -> Iterator[Violation]:
    for tag, marks in seen.marks.items():
        bot_id = next(iter(seen.bots.get(tag, [])), "")
        inside: set[str] = set()
        admitted: list[Mark] = []
        rejoins = tag in seen.pushes and seen.pushes[tag].rejoins
        for mark in marks:
            if mark.seen is Seen.INSIDE:
                stand_still = rejoins and _stands_still(world, inside, marks, seen.changes[bot_id], mark)
                if inside and not stand_still and not _are_undone(world, inside, marks):
                    both = f"by the browsers {sorted(inside)} and {mark.visit}"
                    yield Violation("twice in a meeting", f"job {tag} is in its meeting twice at once, {both}", bot_id)
                inside.add(mark.visit)
                is_certain = (
                    admitted
                    and not _may_be_gone(world, admitted[-1].at)
                    and not _unknown_admission(world, admitted[-1].visit, marks, seen.changes[bot_id], mark.at)
                )
                if is_certain and not rejoins:
                    yield Violation("admitted again", f"job {tag} was let into its meeting a second time", bot_id)
                admitted.append(mark)
            elif mark.seen is not Seen.LOBBY:
                inside.discard(mark.visit)


def _stands_still(world: World, inside: set[str], marks: list[Mark], changes: list[Change], second: Mark) -> bool:
    """Whether the bots that are still inside when the next one comes in could not leave, as on a VM that stands still:
    their browsers are frozen, and so was their agent, which would end such a browser, when their VM was given up. When
    such a browser goes on, its page has to leave at once.
    """
    given = [change for change in changes if change.state == BotState.ASSIGNED and change.written_at <= second.at]
    if len(given) < 2:
        return False
    before, since = given[-2], given[-1].written_at
    for visit in inside:
        of_visit = [mark for mark in marks if mark.visit == visit]
        ends_at = next((mark.at for mark in of_visit if mark.seen in (Seen.LEFT, Seen.GONE)), math.inf)
        is_frozen = any(
            frozen.pid == of_visit[0].pid
            and frozen.begin <= second.at <= frozen.end
            and ends_at <= frozen.end + _OUT_WITHIN_S
            for frozen in world.still
        )
        agent_stood_s = sum(
            max(0.0, min(frozen.end, since) - max(frozen.begin, since - LOST_AFTER_S))
            for frozen in world.still
            if frozen.aim is Aim.AGENT and frozen.name == before.vm_id
        )
        # Leaving by its own button has a quarter of that time; the rest is for ending the browser.
        if not is_frozen or agent_stood_s < LOST_AFTER_S / 4:
            return False
    return True


def _are_undone(world: World, inside: set[str], marks: list[Mark]) -> bool:
    """Whether a failover may have undone the claims of the bots that are inside, because nothing waited for replicas.
    They have to leave when it is over: docs/operations.md, "What a failover undoes".
    """
    for visit in inside:
        came_at = next(mark.at for mark in marks if mark.visit == visit)
        left_at = next(
            (mark.at for mark in marks if mark.visit == visit and mark.seen in (Seen.LEFT, Seen.GONE)), math.inf
        )
        if not any(
            back.by_failover and back.may_lack(came_at) and left_at <= back.restored_at + _ORDERED_OUT_WITHIN_S
            for back in world.rollbacks
        ):
            return False
    return True


def _unknown_admission(world: World, visit: str, marks: list[Mark], changes: list[Change], before: float) -> bool:
    """Whether only the host could know that the bot of that visit was let in: its browser died in the meeting, or on an
    end screen that no agent had looked at.
    """
    of_visit = [mark for mark in marks if mark.visit == visit]
    first, last = of_visit[0], of_visit[-1]
    # Only of its own attempt: the next attempt may have reported that it is in before the host noticed.
    begun = (change.attempt for change in changes if change.written_at <= first.at)
    attempt = first.attempt or max(begun, default=0)
    was_reported = any(
        change.state == BotState.IN_MEETING and change.attempt <= attempt and change.seen_at < before
        for change in changes
    )
    vm_ids = {change.vm_id for change in changes}
    killed = any(
        Reason.BROWSER_CRASHED in excuse.reasons
        and (excuse.pid == last.pid if excuse.pid else excuse.vm_id in vm_ids)
        and last.at <= excuse.end
        and excuse.begin <= before
        for excuse in world.excuses
    )
    return not was_reported and (last.seen is Seen.GONE or killed)


def status_only_moves_forward(world: World, seen: _Index) -> Iterator[Violation]:
    for bot_id, changes in seen.changes.items():
        before: tuple[int, int] = (-1, -1)
        for change in changes:
            if change.state == _REJECTED:
                continue
            state = BotState(change.state)
            # A bot that was queued again waits for its next attempt, and may end while it waits.
            waits = state in _NOT_AN_ATTEMPT or (state is BotState.STOPPED and before[0] == change.attempt + 1)
            now = (change.attempt + waits, state.rank)
            if now <= before:
                sentence = f"bot {bot_id} went back to {change.state} of attempt {change.attempt}"
                yield Violation("status went back", sentence, bot_id)
            if before[1] == BotState.STOPPED.rank:
                yield Violation("status after the end", f"bot {bot_id} became {change.state} after its end", bot_id)
            before = now
    del world


def nothing_is_left_behind(world: World, seen: _Index) -> Iterator[Violation]:
    for vm in world.vms:
        for worker_id in sorted((vm.folders | vm.browsers) - set(vm.kept)):
            what = " and ".join(
                name for name, ids in (("a browser", vm.browsers), ("a folder", vm.folders)) if worker_id in ids
            )
            yield Violation("orphan", f"worker {worker_id} on {vm.vm_id} has {what}, and nobody owns it", heals=True)
    for stray in world.strays:
        yield Violation("orphan", f"{stray} runs, and stems from no part that runs", heals=True)
    del seen


def both_sides_agree(world: World, seen: _Index) -> Iterator[Violation]:
    for vm in world.vms:
        if vm.kept != vm.reported:
            sentence = f"of {vm.vm_id} the manager keeps {_said(vm.kept)}, its agent reports {_said(vm.reported)}"
            yield Violation("sides disagree", sentence, heals=True)
        for worker_id in sorted(set(vm.kept) - (vm.folders & vm.browsers)):
            sentence = f"worker {worker_id} on {vm.vm_id} is {vm.kept[worker_id]}, and has no browser or no folder"
            yield Violation("sides disagree", sentence, heals=True)
    del seen


def limits_hold(world: World, seen: _Index) -> Iterator[Violation]:
    for vm in world.vms:
        if vm.most > world.max_workers:
            sentence = f"{vm.vm_id} had {vm.most} browsers at once, and may have {world.max_workers}"
            yield Violation("limit broken", sentence)
    del seen


def the_pool_is_back(world: World, seen: _Index) -> Iterator[Violation]:
    for vm in world.vms:
        idle = sum(map(is_idle, vm.kept.values()))
        if idle != world.min_idle or idle != len(vm.kept):
            wanted = f"{world.min_idle} idle workers"
            yield Violation("pool not back", f"{vm.vm_id} has {_said(vm.kept)} instead of {wanted}", heals=True)
    del seen


def no_input_changes_the_lead(world: World, seen: _Index) -> Iterator[Violation]:
    for before, after in world.flooded:
        if after != before:
            sentence = f"the lead went from epoch {before} to {after}, and nothing was done to it but floods of jobs"
            yield Violation("lead changed", sentence)
    del seen


def what_managers_end_over_is_set_aside(world: World, seen: _Index) -> Iterator[Violation]:
    """Only checked where Redis was not set back: otherwise it may have forgotten the job, or how often it was begun."""
    for poison in () if world.rollbacks else world.poisons:
        if poison.ends > MOST_ENDS:
            sentence = f"{poison.ends} managers ended over {poison.bot_id}, and it is not to be begun after {MOST_ENDS}"
            yield Violation("poison begun again", sentence, poison.bot_id)
        if (poison.ends or poison.taken) and set(poison.reasons) != {"poisonous"}:
            sentence = f"{poison.bot_id}, over which managers end, is on the dead stream as {sorted(poison.reasons)}"
            yield Violation("poison not set aside", sentence, poison.bot_id, heals=True)
    del seen


def every_key_has_an_end(world: World, seen: _Index) -> Iterator[Violation]:
    for name, life_s in world.keys.items():
        if life_s < 0 and name.partition(":")[2] not in _ENDLESS:
            yield Violation("key without end", f"the key {name} has no end", heals=True)
    del seen


def the_audits_find_nothing(world: World, seen: _Index) -> Iterator[Violation]:
    for sentence in world.audited:
        yield Violation("audit", sentence, heals=True)
    del seen


def no_backstop_was_needed(world: World, seen: _Index) -> Iterator[Violation]:
    """No backstop acts except in hangs that were injected on purpose; this suite injects none. A backstop that acts
    hides a fault.
    """
    for bot_id, record in world.records.items():
        if record.get("status_reason") == "overdue" or record.get("reason_detail", "").startswith("given up:"):
            yield Violation("overdue", f"bot {bot_id} had to be ended by a backstop", bot_id)
    for backstop in world.backstops:
        yield Violation("overdue", f"{backstop.of} says: {backstop.sentence}", backstop.bot_id)
    del seen


INVARIANTS: Final[tuple[Callable[[World, _Index], Iterator[Violation]], ...]] = (
    no_job_is_lost,
    no_attempt_is_used_again,
    what_is_rejected_is_dead,
    no_input_changes_the_lead,
    what_managers_end_over_is_set_aside,
    every_bot_ends_once,
    every_end_is_explained,
    nobody_is_in_a_meeting_twice,
    status_only_moves_forward,
    nothing_is_left_behind,
    both_sides_agree,
    limits_hold,
    the_pool_is_back,
    every_key_has_an_end,
    the_audits_find_nothing,
    no_backstop_was_needed,
)


def story(world: World, bot_id: str) -> list[str]:
    """A bot's story by the status stream and the witness, in order of time."""
    record = world.records.get(bot_id)
    tag = tag_of(record) if record else bot_id.removeprefix("bot-")
    lines = [
        (change.seen_at, f"status   {change.state} {change.reason} attempt {change.attempt} {change.vm_id}")
        for change in world.changes
        if change.bot_id == bot_id
    ]
    lines += [(mark.at, f"witness  {mark.seen} {mark.visit}") for mark in world.marks if mark.tag == tag]
    return [f"{_clock(at)}  {line.strip()}" for at, line in sorted(lines)]


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _said(states: Mapping[str, str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(Counter(states.values()).items())) or "none"
