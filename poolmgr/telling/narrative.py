"""Tells a bot's history in sentences, and what a bot waits for that is not in its meeting yet. Does no I/O."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from common.config.settings import CaptureSettings, PoolSettings
from common.jobs.record import Record, iso
from common.runtime.cli.text import duration
from common.wire.labels import named
from common.wire.manifest import Gap
from common.wire.vocabulary import Attribution, BotState, Feed, FeedStatus, VmState
from poolmgr.core.load import JobKind, expected_processors, kind_of
from poolmgr.core.model import Vm
from poolmgr.core.policy import bears
from poolmgr.store.reading.views import Standing, VmView
from poolmgr.store.story import EXPIRED, TAKEN_OVER, UNMADE, UNMADE_THERE, Entry, What

WHOSE: Final = {
    Attribution.HOST: "the host's doing",
    Attribution.PLATFORM: "the platform's doing",
    Attribution.USER: "the client's doing",
    Attribution.US: "our doing",
}
_WHY: Final = {
    "claim_overdue": "no agent began it in time",
    "refused": "the agent would not begin it",
    "worker_lost": "its browser was lost",
    "vm_lost": "its VM was lost",
    "retry": "a fresh browser may do better",
}
_STATES: Final = {
    BotState.JOINING: "on the meeting's page",
    BotState.WAITING_ROOM: "in the waiting room: somebody has to let it in",
    BotState.IN_MEETING: "in the meeting",
    BotState.LEAVING: "leaving",
}


_BORNE: Final = {
    JobKind.LISTENS: "one more bot",
    JobKind.SOUND: "a recording of sound more",
    JobKind.PICTURE: "a recording of a picture more",
}
_MOST_NAMED: Final = 5


class Line(NamedTuple):
    """A sentence of the history. `at`: ISO 8601."""

    at: str
    text: str


def sentences(entries: Sequence[Entry], record: Record) -> list[Line]:
    """The history, one sentence an entry. When the agent began is taken from the record."""
    lines = [Line(entry.at, sentence(entry)) for entry in entries]
    if (at := record.claimed_at) and (attempt := record.claimed):
        place = next(
            (n for n, entry in enumerate(entries) if _is_of(entry, attempt) and entry.what is not What.ASSIGNED), -1
        )
        begun = Line(_as_utc(at), f"the agent began attempt {attempt}")
        if place >= 0:
            lines.insert(place, begun)
        elif any(_is_of(entry, attempt) for entry in entries):
            lines.append(begun)
    return list(_once(lines))


def _is_of(entry: Entry, attempt: str) -> bool:
    return str(entry.attempt) == attempt


def _as_utc(at: str) -> str:
    return at.replace("+00:00", "Z")


def _once(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines with repeated ones joined into one, which says how often."""
    before, times = None, 0
    for line in lines:
        if before and line.text == before.text:
            times += 1
            continue
        if before:
            yield _counted(before, times)
        before, times = line, 1
    if before:
        yield _counted(before, times)


def _counted(line: Line, times: int) -> Line:
    return line if times == 1 else Line(line.at, f"{line.text} (so {times} times)")


def sentence(entry: Entry) -> str:
    match entry.what:
        case What.ACCEPTED:
            then = "in line for a worker" if entry.state != BotState.SCHEDULED else f"to join at {entry.join_at}"
            return f"accepted as a bot for {entry.platform}, {then}"
        case What.RESCHEDULED:
            return f"is to join at another time: {entry.join_at}"
        case What.QUEUED:
            why = _WHY.get(entry.why, entry.why)
            return f"in line again, because {why}" if why else "its time has come: in line for a worker"
        case What.ASSIGNED:
            return f"attempt {entry.attempt}: {_choice(entry)}"
        case What.MOVED:
            return f"{_STATES.get(BotState(entry.state), entry.state)}{_by(entry, '; the page showed ')}"
        case What.SAW:
            return f"the bot did: {entry.did}" if entry.did else f"the page showed {entry.screen}{_rule(entry)}"
        case What.ASKED_TO_LEAVE:
            return f"asked to leave: {entry.reason}"
        case What.FORCED:
            who = f"its worker {entry.worker_id} did not go" if entry.why else "it did not leave"
            return f"{who}: the agent of VM {entry.vm_id} was ordered to end its browser"
        case What.RECORDED | What.STREAMED | What.TRANSCRIBED:
            return _ARTEFACTS[entry.what](entry)
        case What.CUT:
            return "... more happened here than is kept ..."
        case What.FAILED | What.ENDED:
            return _end(entry)


def _choice(entry: Entry) -> str:
    waited = "it stood idle" if entry.warm else f"none was free for it before, after {entry.waited_s:.1f} s one was"
    rule = "the newest idle one of the VM with the fewest bots, unless one was put aside for it"
    return f"given to worker {entry.worker_id} of VM {entry.vm_id} ({rule}; {waited})"


def _recorded(entry: Entry) -> str:
    if entry.why == EXPIRED:
        return "what was kept of its meeting was deleted: its time was over"
    if entry.why == TAKEN_OVER:
        return f"its VM has made no files of its recording: VM {entry.vm_id} is to make them of what is in the store"
    if entry.why == UNMADE_THERE:
        return f"VM {entry.vm_id} can make no files of its recording: {entry.detail}"
    if entry.why == UNMADE:
        return "no agent has made files of its recording in time: what there is of it is kept as long as they would be"
    if entry.audio_s is None:
        return "its meeting is being recorded"
    missing = f"{entry.gaps} gap{'s' if entry.gaps > 1 else ''}" if entry.gaps else "no gap"
    if entry.first_gaps:
        more = entry.gaps - len(entry.first_gaps)
        missing += f": {'; '.join(map(_gap, entry.first_gaps))}{f'; and {more} more' if more > 0 else ''}"
    picture = f" and {duration(entry.video_s)} of picture" if entry.video_s else ""
    return f"its recording is finished: {duration(entry.audio_s)} of sound{picture}, {missing}"


def _gap(gap: Gap) -> str:
    what = {"audio": "sound", "video": "picture", "tracks": "sound tracks"}[gap.kind]
    since = f"{datetime.fromtimestamp(gap.began_at, UTC):%H:%M:%S}"
    return f"no {what} from {since} for {duration(gap.ended_at - gap.began_at)} ({gap.cause})"


def _streamed(entry: Entry) -> str:
    feeds: dict[str, str] = {Feed.AUDIO: "its live sound", Feed.TRANSCRIPTION: "what is said, live"}
    words: dict[str, str] = {
        FeedStatus.CONNECTED: "its receiver takes it",
        FeedStatus.WAITING: "its receiver does not take it; it is tried again",
        FeedStatus.REFUSED: "is sent nowhere, because its address may not be called or the browser gives no sound",
        FeedStatus.LISTENING: "the meeting's page shows captions",
        FeedStatus.CAPTIONS_UNAVAILABLE: "the meeting's page shows no captions (captions_unavailable)",
        FeedStatus.TRANSCRIBING: "the meeting's sound is made words of",
        FeedStatus.UNTRANSCRIBED: "nobody makes words of the meeting's sound; it is tried again (untranscribed)",
        FeedStatus.ENDED: f"ended: {entry.sent} sent, {entry.dropped} dropped",
    }
    detail = f" ({entry.detail})" if entry.detail else ""
    return f"{feeds.get(entry.feed, entry.feed)}: {words.get(entry.reason, entry.reason)}{detail}"


def _transcribed(entry: Entry) -> str:
    by = f" by {entry.by}" if entry.by else ""
    if entry.why == TAKEN_OVER:
        return f"its VM has made no transcript of it: VM {entry.vm_id} is to make it of what is in the store"
    if entry.why == UNMADE:
        return "no agent has made its transcript in time: what there is of it is kept as long as it would be"
    if entry.why:
        return f"no words were made of its recording{by}: {entry.why}"
    if entry.utterances is None:
        return f"words are to be made of its recording{by}" if by else "what is said is being written down"
    if not entry.utterances:
        return "nothing was written down"
    return f"its transcript{by} is finished: {entry.utterances} utterances"


_ARTEFACTS: Final = {What.RECORDED: _recorded, What.STREAMED: _streamed, What.TRANSCRIBED: _transcribed}


def _end(entry: Entry) -> str:
    failed = entry.what is What.FAILED
    whose = f", {WHOSE[Attribution(entry.attribution)]}" if entry.attribution in set(Attribution) else ""
    detail = f": {entry.detail}" if entry.detail else ""
    kept = f" (evidence {entry.evidence})" if entry.evidence else ""
    return f"{f'attempt {entry.attempt} came to nothing' if failed else 'ended'}: {entry.reason}{whose}{detail}{kept}"


def _by(entry: Entry, words: str) -> str:
    return f"{words}{entry.screen}{_rule(entry)}" if entry.screen else ""


def _rule(entry: Entry) -> str:
    return f" (rule {entry.rule})" if entry.rule else ""


def waits_for(
    record: Record,
    standing: Standing,
    fleet: Sequence[VmView],
    pool: PoolSettings | None = None,
    capture: CaptureSettings | None = None,
) -> list[str]:
    """What a live bot waits for; empty for a bot that is in its meeting or has ended. `pool`, `capture`: the settings
    that say how many bots a VM bears.
    """
    state = record.state
    if state in (BotState.STOPPED, BotState.IN_MEETING):
        return []
    reasons: list[str] = []
    if not standing.leader:
        reasons.append('no manager leads: nothing is decided until one does ("Nobody leads" in docs/operations.md)')
    match state:
        case BotState.SCHEDULED:
            reasons.append(f"its join_at, {iso(record.join_at or 0)}")
        case BotState.QUEUED:
            having = fleet
            if record.requires:
                having = [vm for vm in fleet if vm.has(record.requires)]
                reasons.append(f"an idle worker of a VM that has {named(record.requires)}, as its job requires")
            else:
                reasons.append("an idle worker")
            pool, capture = pool or PoolSettings(), capture or CaptureSettings()
            if fleet and not having:
                reasons.append('no VM of the fleet has that: see "Jobs that require a VM" in docs/operations.md')
            else:
                reasons += _without_workers(having, kind_of(record.job, capture), pool)
        case BotState.ASSIGNED:
            vm = next((vm for vm in fleet if vm.vm_id == record.vm_id), None)
            heard = f"which is {vm.state}" if vm else "which is not known any more"
            begun = record.claimed == str(record.attempt)
            what = "its browser to ask for the page" if begun else "the agent to begin it"
            reasons.append(f"{what}, on VM {record.vm_id}, {heard}")
        case BotState.WAITING_ROOM:
            reasons.append("somebody in the meeting to let it in")
        case BotState.LEAVING:
            reasons.append("the page to let it go")
        case _:
            reasons.append(f"the page, which last showed {record.screen or 'nothing yet'}")
    return reasons


def _without_workers(fleet: Sequence[VmView], kind: JobKind, pool: PoolSettings) -> Iterator[str]:
    """Why a queued bot has no worker, by the states of the VMs and what they bear."""
    if not fleet:
        yield 'there is no VM: no agent speaks ("A VM is silent or lost" in docs/operations.md)'
        return
    up = [vm for vm in fleet if vm.state is VmState.UP]
    for state in (VmState.SILENT, VmState.LOST, VmState.DRAINING, VmState.STOPPING, VmState.RESTING):
        if names := [vm.vm_id for vm in fleet if vm.state is state]:
            yield f"{state}, so without new bots: {', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"
    counts = {state: sum(vm.workers[state] for vm in up) for state in ("idle", "warming", "busy", "reserved")}
    said = ", ".join(f"{number} {state}" for state, number in counts.items())
    yield f"on the {len(up)} VMs that are up: {said} workers"
    ready = [vm for vm in up if vm.workers["idle"]]
    if any(bears(_as_known(vm), kind, pool) for vm in ready):
        yield "idle ones are there: it is about to be given one"
    elif ready:
        loads = ", ".join(
            f"{vm.vm_id} {expected_processors(vm.kinds, pool):.2f} of {vm.processors * pool.cpu_limit:.2f}"
            for vm in ready[:_MOST_NAMED]
        )
        yield (
            f"idle ones are there, on VMs that do not bear {_BORNE[kind]} beside what is recorded there: of their"
            f" processors are taken, by what bots are expected to take (pool.cpu_limit): {loads}"
        )
    elif not counts["warming"]:
        yield 'none is warming either: see "Nothing is idle" in docs/operations.md'


def _as_known(vm: VmView) -> Vm:
    """The VM for the policy, with what its records say. How much memory is free is unknown here."""
    return Vm(vm.vm_id, "", 0.0, processors=vm.processors, carried=vm.kinds)
