"""`support`: packs what is known of a bot or a VM for a bug report. Reads only."""

import asyncio
import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec
from click.shell_completion import CompletionItem
from redis.asyncio import Redis

from common.config.masking import masked
from common.runtime import files
from common.runtime.cli.session import fail, put_json, say
from common.runtime.cli.text import count
from common.runtime.cli.version import release
from common.runtime.doctor.checks import Diagnosis, carry_out
from common.runtime.exits import EXIT_FAILED, EXIT_NOT_FOUND
from poolmgr.cli.names import bot_ids, vm_ids
from poolmgr.cli.program.doctor import checks
from poolmgr.cli.session import Session, with_session
from poolmgr.store.keys import Keys
from poolmgr.store.reading.audit import Finding
from poolmgr.store.reading.sight import Sight
from poolmgr.store.reading.views import StatusChange, Views
from poolmgr.telling import narrative
from poolmgr.telling.history import BotHistory, look
from poolmgr.telling.meaning import meaning_of
from poolmgr.telling.package import Secrets, packed, shareable
from poolmgr.telling.secrecy import hide_links

_CHANGES_LOOKED_AT: Final = 20_000
_PAGE: Final = 1000
_ACTIONS: Final = 1000
_MOST_BOTS: Final = 20
"""How many bots of a VM are packed."""
_README: Final = """What poolmgr knows of {what}, packed by `poolmgr support` on {at}.

about.json     versions, and who leads
{contents}settings.json  the configuration that this command read, without secrets
doctor.json    what `poolmgr doctor` found where this was packed
audit.json     what `poolmgr audit` found at one look

Hidden in it: meeting links and what stands in them, passcodes, tokens, webhook secrets, the client's payload, custom
attributes and ids. Not hidden: names of bots, VMs, hosts and tokens; in evidence the names of participants, and what a
screenshot shows. Look it through before you send it to anybody.

Not in it: logs. Add those of the manager and of the agent on the VM, from a minute before to a minute after:
journalctl -u poolmgr -u poolmgr-worker --since ... --until ...
"""


def _either(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    return [*bot_ids()(context, parameter, begun), *vm_ids()(context, parameter, begun)]


@click.command
@click.argument("which", metavar="BOT|VM", shell_complete=_either)
@click.option(
    "--to", "path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="The .tar.gz to be written.  [default: poolmgr-support-ID-TIME.tar.gz here]",
)  # fmt: skip
@click.option("--without-evidence", is_flag=True, help="Leave out screenshots and pages of failed attempts.")
@with_session
def support(session: Session, which: str, *, path: Path | None, without_evidence: bool) -> None:
    """Pack what a bug report needs: all that is known of BOT or VM, versions, settings, doctor and audit.

    No meeting link, passcode or token is in it; its README says what else is hidden and what is not. Only you can read
    the file. What cannot be had (evidence that is over, a doctor's check that fails) is said in it, or left out. Exit
    code 4 when there is no such bot or VM.

    \b
    Examples:
      poolmgr support 7f6b0f0c8e4b4c1c9a3d5e2f1a0b9c8d
      poolmgr support vm-7 --to /tmp/vm-7.tar.gz
    """
    now = time.time()
    found = session.ask_redis(lambda redis, keys: _gather(session, redis, keys, which, now, not without_evidence))
    if found is None:
        fail(f"there is no bot and no VM {which} (`poolmgr bots` and `poolmgr fleet` list them)", EXIT_NOT_FOUND)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    folder = f"poolmgr-support-{re.sub(r'[^A-Za-z0-9._-]', '_', which)[:80]}-{stamp}"
    path = path or Path(f"{folder}.tar.gz")
    data = packed(folder, found, now)
    try:
        files.write(path, data)
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}", EXIT_FAILED)
    if session.as_json:
        put_json({"path": str(path), "bytes": len(data), "files": sorted(found)})
    else:
        click.echo(str(path))
        say(f"{count(len(found), 'file')}, {len(data) / 1024:.0f} KiB; look it through before you send it to anybody")


class _Around(NamedTuple):
    """The files that every package has, whether it is about a bot or a VM."""

    about: dict[str, Any]
    settings: dict[str, Any]
    doctor: Sequence[Diagnosis]
    audit: Sequence[Finding]


async def _gather(
    session: Session, redis: Redis, keys: Keys, which: str, now: float, with_evidence: bool
) -> dict[str, bytes] | None:
    """The files by their names; None where nothing is known of it."""
    views, sight = Views(redis, keys), Sight(redis, keys)
    if history := await look(views, which, session.settings):
        secrets = Secrets([history.record])
        own = await _of_bot(views, sight, secrets, history, with_evidence)
    elif (vm := await views.vm(which)) is not None:
        settings, ids = session.settings, vm.bots[:_MOST_BOTS]
        histories = [history for bot_id in ids if (history := await look(views, bot_id, settings, [vm]))]
        secrets = Secrets([history.record for history in histories])
        own = await _of_vm(views, sight, secrets, which, histories)
    else:
        return None
    around = await _around(session, redis, views, now)
    contents = "".join(f"{name:<14} {what}\n" for name, what in _CONTENTS if name in own)
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    return {
        "README.txt": secrets.strike_out(_README.format(what=which, at=at, contents=contents)).encode(),
        "about.json": secrets.document(around.about),
        **own,
        "settings.json": secrets.document(around.settings),
        "doctor.json": secrets.document([check._asdict() for check in around.doctor]),
        "audit.json": secrets.document([finding._asdict() for finding in around.audit]),
    }


_CONTENTS: Final = (
    ("bot.json", "its session record, and what its end means"),
    ("vm.json", "its state, workers and memory, as manager and agent said last"),
    ("bots.json", "the records of the bots that are on it"),
    ("story.txt", "what happened, in sentences, as `poolmgr explain` tells it"),
    ("story.jsonl", "the same, as it is kept"),
    ("status.jsonl", "its entries in the status stream, as far back as that is kept"),
    ("webhooks.json", "what was sent and what waits, without addresses"),
    ("actions.jsonl", "who asked what of it"),
)


async def _of_bot(
    views: Views, sight: Sight, secrets: Secrets, history: BotHistory, with_evidence: bool
) -> dict[str, bytes]:
    record = history.record
    meaning = meaning_of(record.status_reason)
    means = {"what": meaning.what, "do": meaning.do} if meaning else None
    attempts = await views.webhooks.log(record.bot_id)
    waiting, _ = await views.webhooks.waiting(record.bot_id)
    found = {
        "bot.json": secrets.document({"bot": shareable(record), "means": means, "waits_for": history.waits_for}),
        "story.txt": secrets.strike_out(_story(history)).encode(),
        "story.jsonl": secrets.lines(msgspec.to_builtins(entry) for entry in history.entries),
        "status.jsonl": secrets.lines(change.fields for change in await _changes(sight, "bot_id", record.bot_id)),
        "webhooks.json": secrets.document(
            {
                "waiting": [{"event": left.delivery.event, "attempts": left.attempts} for left in waiting],
                "log": [msgspec.to_builtins(attempt) for attempt in attempts],
            }
        ),
        "actions.jsonl": await _actions(views, secrets, record.bot_id),
    }
    for attempt in history.kept if with_evidence else []:
        if bundle := await views.evidence.bundle(record.bot_id, attempt):
            found[f"evidence/{bundle.name}.zip"] = secrets.evidence(bundle.data)
    return found


async def _of_vm(
    views: Views, sight: Sight, secrets: Secrets, vm_id: str, histories: Sequence[BotHistory]
) -> dict[str, bytes]:
    vm, vitals = await views.vm(vm_id), await sight.vitals(vm_id)
    workers = await sight.workers(vm_id)
    return {
        "vm.json": secrets.document(msgspec.to_builtins({"vm": vm, "workers": workers, "vitals": vitals})),
        "bots.json": secrets.document([shareable(history.record) for history in histories]),
        "story.txt": secrets.strike_out("\n".join(map(_story, histories))).encode(),
        "status.jsonl": secrets.lines(change.fields for change in await _changes(sight, "vm_id", vm_id)),
        "actions.jsonl": await _actions(views, secrets, vm_id),
    }


def _story(history: BotHistory) -> str:
    lines = narrative.sentences(history.entries, history.record)
    return "".join([f"bot {history.record.bot_id}\n", *(f"{line.at:<28} {hide_links(line.text)}\n" for line in lines)])


async def _changes(sight: Sight, name: str, value: str) -> list[StatusChange]:
    """The status changes, in order. Changes further back than _CHANGES_LOOKED_AT entries are not looked for."""
    found: list[StatusChange] = []
    before, left = "+", _CHANGES_LOOKED_AT
    while left > 0:
        page = await sight.changes_before(before, 0, _PAGE)
        found += [change for change in page if change.fields.get(name) == value]
        left -= len(page)
        if len(page) < _PAGE:
            break
        before = page[-1].entry_id
    return found[::-1]


async def _actions(views: Views, secrets: Secrets, of: str) -> bytes:
    actions = await views.actions.since(0.0, of=of, most=_ACTIONS)
    return secrets.lines(msgspec.to_builtins(action) for action in actions)


async def _around(session: Session, redis: Redis, views: Views, now: float) -> _Around:
    info: dict[str, Any] = await redis.info("server")  # pyright: ignore[reportUnknownMemberType]
    doctor, audit = await asyncio.gather(carry_out(checks(session.settings)), views.audit(session.settings, now))
    about = {
        "versions": {
            "poolmgr": release(),
            "python": platform.python_version(),
            "redis": str(info.get("redis_version", "")),
            "system": _system(),
            "kernel": platform.release(),
        },
        "processors": os.cpu_count(),
        "fleet": msgspec.to_builtins(await views.standing()),
        "vms": {vm.vm_id: vm.state for vm in await views.fleet()},
    }
    return _Around(about, masked(session.settings), doctor, audit)


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()
