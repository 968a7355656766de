"""Compares the journal, the state folder and the process table of this VM (`poolmgr-worker audit`).

It only reads, and may run beside an agent or without one.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from common.config.settings import WorkerSettings
from common.errors import AgentError
from worker.chromium.process import is_marked_alive, named_in_arguments, workers_folder
from worker.chromium.warm_pages import VISITOR
from worker.decide.overdue import GRACE_S, STILL_S
from worker.decide.state import State
from worker.link.journal import Stage, WorkerNote, read_notes

LATE_S: Final = STILL_S + GRACE_S  # after this the agent's own watch has acted


class Finding(NamedTuple):
    """Something that is wrong. `kind`: the rule. `of`: the id of what is wrong. `sentence`: says so, without a link."""

    kind: str
    of: str
    sentence: str


class CannotAuditError(AgentError):
    """The state folder cannot be read; the message says why and what to do."""


class Seen(NamedTuple):
    """What was found, by worker id. `notes`: in the journal. `folders`: in the state folder. `running`: with a living
    process. `leaders`: whose browser, as the agent started it, lives. `at`: when (monotonic seconds).
    """

    notes: Mapping[str, WorkerNote]
    folders: frozenset[str]
    running: frozenset[str]
    leaders: frozenset[str]
    at: float


def look(state_dir: Path) -> Seen:
    """Read the journal, the folder and the process table. Raises: CannotAuditError."""
    workers = workers_folder(state_dir)
    try:
        folders = frozenset(path.name for path in workers.glob("*") if path.is_dir())
        notes = read_notes(state_dir / "journal.db")
    except (OSError, sqlite3.Error) as error:
        where = f"worker.state_dir = {str(state_dir)!r}"
        raise CannotAuditError(f"cannot read {where}: {error}; run it as the agent's user") from error
    running = frozenset(named_in_arguments(workers))
    leaders = frozenset(worker_id for worker_id in folders if is_marked_alive(workers / worker_id))
    return Seen(notes, folders, running, leaders, time.monotonic())


def findings(seen: Seen, settings: WorkerSettings) -> list[Finding]:
    """Everything that is wrong, in a fixed order."""
    return sorted({*_without_owner(seen), *_without_browser(seen), *_overdue(seen, settings)})


def in_both(first: list[Finding], second: list[Finding]) -> list[Finding]:
    """The findings of the second look that were also in the first. Numbers in their sentences may differ."""
    before = {(finding.kind, finding.of) for finding in first}
    return [finding for finding in second if (finding.kind, finding.of) in before]


def _without_owner(seen: Seen) -> Iterator[Finding]:
    owned = {*seen.notes, VISITOR}
    for worker_id in seen.folders - owned:
        yield Finding("folder_without_owner", worker_id, "the state folder has it, and the journal does not")
    for worker_id in seen.running - owned:
        yield Finding("process_without_owner", worker_id, "processes of it run, and the journal does not know it")


def _without_browser(seen: Seen) -> Iterator[Finding]:
    for worker_id, note in seen.notes.items():
        if note.stage is Stage.WARM and worker_id not in seen.leaders:
            what = "no folder" if worker_id not in seen.folders else "no browser"
            sentence = f"the journal has it as {note.stage}, and there is {what}"
            yield Finding("worker_without_browser", worker_id, sentence)
        elif note.stage is Stage.SPENT:
            yield Finding("worker_left", worker_id, "its bot has ended or it was retired, and something of it is left")


def _overdue(seen: Seen, settings: WorkerSettings) -> Iterator[Finding]:
    for worker_id, note in seen.notes.items():
        if note.join and note.state and (late := _late(note.state, settings, seen.at)):
            yield Finding("bot_overdue", f"{note.join.bot_id} on {worker_id}", late)


def _late(state: State, settings: WorkerSettings, now: float) -> str:
    began = now if state.began is None else state.began
    if now - began > settings.session_limit_s + settings.leave_timeout_s + LATE_S:
        return f"it is {state.phase} and went in {now - began:.0f} s ago"
    if state.ending and now - state.since > settings.leave_timeout_s + LATE_S:
        return f"it is {state.phase} as {state.ending.reason}, and still there"
    return ""
