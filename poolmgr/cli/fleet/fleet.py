"""`fleet` and `drain`: shows the VMs, and takes one out of service."""

import asyncio
import time
from typing import TYPE_CHECKING

import click
import msgspec

from common.runtime.cli.session import fail, put_json
from common.runtime.cli.text import literal
from common.runtime.exits import EXIT_INTERRUPTED, EXIT_NOT_FOUND
from common.wire.vocabulary import VmState, WorkerState
from poolmgr.cli.names import vm_ids
from poolmgr.cli.session import Session, in_time, say_if_unled, with_session, with_waiting
from poolmgr.cli.text import clock_time
from poolmgr.core.requests import DrainRequested
from poolmgr.store.reading.views import Standing, Views, VmView

if TYPE_CHECKING:
    from poolmgr.scaling.steps import Shown

_LOOK_EVERY_S = 0.2


@click.command
@click.option("--watch", is_flag=True, help="Print it anew every second until Ctrl-C.")
@with_session
def fleet(session: Session, *, watch: bool) -> None:
    """Show each VM with its workers by state, the totals, and who leads.

    IDLE is warm browsers against pool.min_idle, and after a + those with a display against pool.min_idle_display; red
    where there are fewer. A VM is `silent` when its agent has not
    been heard of for 15 seconds, `lost` when the manager has given it up, `draining` by `poolmgr drain`, `stopping`
    while its agent ends, and `resting` while it is given no bots because it began none of its assignments; only
    one that is `up` or `resting` has a target. LOAD is what its bots are expected to take of its processors, against
    what they may take beside a recording (pool.cpu_limit).

    \b
    Examples:
      poolmgr fleet
      poolmgr fleet --watch
      poolmgr fleet --json | jq '.total.idle'
    """
    if not watch:
        _put(session, *session.ask(_look), clear=False)
        return
    try:
        session.ask(lambda views: _watch(session, views))
    except KeyboardInterrupt:
        return


async def _look(views: Views) -> tuple[Standing, list[VmView], "Shown | None"]:
    return await views.standing(), await views.fleet(), await views.scaling()


async def _watch(session: Session, views: Views) -> None:
    while True:
        _put(session, *await _look(views), clear=True)
        await asyncio.sleep(1.0)


def _put(session: Session, standing: Standing, vms: list[VmView], scaling: "Shown | None", *, clear: bool) -> None:
    pool = session.settings.pool
    total = {state.value: sum(vm.workers[state] for vm in vms) for state in WorkerState}
    if session.as_json:
        target = {
            "min_idle": pool.min_idle,
            "min_idle_display": pool.min_idle_display,
            "max_workers": pool.max_workers,
        }
        facts = msgspec.to_builtins(standing) | {"target": target, "total": total}
        put_json({**facts, "scaling": msgspec.to_builtins(scaling), "vms": msgspec.to_builtins(vms)})
        return
    from poolmgr.cli.fleet import fleet_table

    fleet_table.show(standing, vms, total, pool, scaling, clear=clear)


@click.command
@click.argument("vm_id", metavar="VM", shell_complete=vm_ids())
@click.option("--undo", is_flag=True, help="Take the VM back into service.")
@with_waiting("until no worker is left on it")
@with_session
def drain(session: Session, vm_id: str, *, undo: bool, wait: bool, timeout_s: float | None) -> None:
    """Give VM no further bots and end its idle browsers; its meetings go on to their end.

    The wish is durable when this returns, and carried out by the leading manager. It holds until --undo, also over a
    restart of the agent. Exit code 4 when there is no such VM, 6 on --timeout (the VM goes on draining).

    \b
    Examples:
      poolmgr drain vm-7
      poolmgr drain vm-7 --wait --timeout 14400 && reboot-the-vm vm-7
      poolmgr drain vm-7 --undo
    """
    if undo and wait:
        raise click.UsageError("--undo and --wait exclude each other: there is nothing to wait for")
    try:
        session.ask(lambda views: _drain(session, views, vm_id, undo=undo, wait=wait, timeout_s=timeout_s))
    except KeyboardInterrupt:
        fail(f"stopped watching; {vm_id} goes on draining", EXIT_INTERRUPTED)


async def _drain(
    session: Session, views: Views, vm_id: str, *, undo: bool, wait: bool, timeout_s: float | None
) -> None:
    if await views.vm(vm_id) is None:
        fail(f"there is no VM {vm_id} (`poolmgr fleet` lists them)", EXIT_NOT_FOUND)
    await views.request(DrainRequested(vm_id, draining=not undo), session.by)
    if session.as_json:
        put_json({"vm_id": vm_id, "requested": "undo" if undo else "drain"})
    else:
        click.echo(f"{literal(vm_id)}: asked to {'take bots again' if undo else 'drain'}")
    say_if_unled((await views.standing()).leader, "nothing changes")
    if not wait:
        return
    overdue = f"{vm_id} still has workers after {timeout_s or 0:g} s; it goes on draining"
    await in_time(timeout_s, _until_empty(session, views, vm_id), overdue=overdue)


async def _until_empty(session: Session, views: Views, vm_id: str) -> None:
    last: dict[str, int] | None = None
    while True:
        vm = await views.vm(vm_id)
        # An empty VM is not yet a drained one: the request may not have been read.
        done = vm is None or ((vm.draining or vm.state is VmState.LOST) and not any(vm.workers.values()))
        left = {} if vm is None else {state: number for state, number in vm.workers.items() if number}
        if left != last or done:
            last = left
            _put_left(session, vm_id, left, done=done)
        if done:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _put_left(session: Session, vm_id: str, left: dict[str, int], *, done: bool) -> None:
    if session.as_json:
        put_json({"vm_id": vm_id, "workers": left, "drained": done})
    elif done:
        click.echo(f"{clock_time(time.time())}  drained: no worker is left")
    else:
        by_state = ", ".join(f"{number} {state}" for state, number in left.items()) or "no worker"
        click.echo(f"{clock_time(time.time())}  {by_state}")
