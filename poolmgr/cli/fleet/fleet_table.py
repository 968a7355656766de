"""Prints the VMs as a table."""

import time
from typing import Final

from rich.table import Table
from rich.text import Text

from common.config.settings import PoolSettings
from common.runtime.cli.text import count, literal
from common.wire.labels import named
from common.wire.vocabulary import VmState, WorkerState
from poolmgr.cli.tables import cell, console, table
from poolmgr.cli.text import clock_time
from poolmgr.core.load import expected_processors
from poolmgr.scaling.steps import Shown
from poolmgr.store.reading.views import Standing, VmView

_STATE_STYLES: Final = {
    VmState.UP: "green",
    VmState.RESTING: "yellow",
    VmState.DRAINING: "yellow",
    VmState.STOPPING: "yellow",
    VmState.SILENT: "red",
    VmState.LOST: "red",
}
_STATES: Final = tuple(WorkerState)


def show(
    standing: Standing,
    vms: list[VmView],
    total: dict[str, int],
    pool: PoolSettings,
    scaling: Shown | None,
    *,
    clear: bool,
) -> None:
    """Print the table, who leads, and how many VMs are wanted. `total`: workers by state. `clear`: overwrite what was
    printed before.
    """
    out = console()
    if clear and out.is_terminal:
        out.clear()
    elif clear:
        out.print(f"-- {clock_time(time.time())} UTC", soft_wrap=True)
    out.print(_table(vms, total, pool) if vms else "no VM yet: an agent registers its own (`poolmgr-worker run`)")
    out.print()
    out.print(_lead(standing), soft_wrap=True)
    waiting = count(standing.jobs_waiting, "job waits", "jobs wait")
    out.print(f"{count(standing.bots_live, 'live bot')}, {waiting} to be taken", soft_wrap=True)
    for vm in vms:
        if vm.out:
            back = f"`poolmgr drain {vm.vm_id} --undo` takes it back"
            out.print(Text(f"{literal(vm.vm_id)} is taken out: {literal(vm.out)}; {back}", "bold red"), soft_wrap=True)
    if scaling:
        out.print(_scaling(scaling), soft_wrap=True)


def _scaling(shown: Shown) -> Text:
    fault = f"{literal(shown.provider)} does not answer: {literal(shown.fault)}" if shown.fault else ""
    view = shown.view
    if view is None:
        return Text(fault, "bold red")
    because = str(view.because).replace("_", " ")
    wanted = f"{count(view.target, 'VM')} wanted ({because}; {view.floor} to {view.ceiling}), {view.asked} asked for"
    line = f"{wanted}: {view.serving} serve, {view.coming} come, {view.draining} drain"
    return Text(f"{line}; {fault}" if fault else line, "bold red" if fault else "")


def _lead(standing: Standing) -> Text:
    if not standing.leader:
        return Text("no manager leads: jobs wait (`poolmgr serve` starts one)", "bold red")
    return Text(f"led by {literal(standing.leader)}, epoch {standing.epoch}")


def _table(vms: list[VmView], total: dict[str, int], pool: PoolSettings) -> Table:
    numbers = ("IDLE", "WARMING", "RESERVED", "BUSY", "RETIRING", "WORKERS", "BOTS", "LOAD")
    has_labels = any(vm.labels or vm.canary for vm in vms)
    grid = table("VM", "STATE", *numbers, *(["LABELS"] if has_labels else []), right=numbers)
    for vm in vms:
        others = (_number(vm.workers[state]) for state in _STATES if state is not WorkerState.IDLE)
        workers = f"{sum(vm.workers.values())}/{pool.max_workers}"
        warming, *rest = others
        grid.add_row(
            cell(vm.vm_id),
            cell(vm.state, _STATE_STYLES[vm.state]),
            _idle(vm, pool),
            warming,
            *rest,
            Text(workers, no_wrap=True),
            _number(len(vm.bots)),
            _load([vm], pool),
            *([cell(_labels(vm))] if has_labels else []),
        )
    up = sum(vm.state is VmState.UP for vm in vms)
    grid.add_section()
    sums = [_number(total[state], "bold") for state in _STATES if state is not WorkerState.IDLE]
    grid.add_row(
        Text("total", "bold"),
        Text(f"{up} of {len(vms)} up", "bold", no_wrap=True),
        Text(_idle_of_all(vms, pool), "bold", no_wrap=True),
        *sums,
        Text(f"{sum(total.values())}/{len(vms) * pool.max_workers}", "bold", no_wrap=True),
        _number(sum(len(vm.bots) for vm in vms), "bold"),
        _load(vms, pool, "bold"),
    )
    return grid


def _labels(vm: VmView) -> str:
    return ", ".join(part for part in ("canary" if vm.canary else "", named(vm.labels)) if part)


def _load(vms: list[VmView], pool: PoolSettings, style: str = "") -> Text:
    """The processors that the VM's bots are expected to take, and how many bots may take if they are recorded."""
    expected = sum(expected_processors(vm.kinds, pool) for vm in vms)
    most = sum(vm.processors for vm in vms) * pool.cpu_limit
    return Text(f"{expected:.1f}/{most:.1f}" if most else f"{expected:.1f}", style if expected else "dim", no_wrap=True)


def _number(number: int, style: str = "") -> Text:
    return Text(str(number), style if number else "dim", no_wrap=True)


def _idle(vm: VmView, pool: PoolSettings) -> Text:
    if not vm.state.has_target:
        return Text(str(vm.workers[WorkerState.IDLE]), "dim", no_wrap=True)
    pairs = vm.idle_against(pool.min_idle, pool.min_idle_display)
    is_short = any(idle < target for idle, target in pairs)
    return Text(_both(pairs), "bold red" if is_short else "green", no_wrap=True)


def _idle_of_all(vms: list[VmView], pool: PoolSettings) -> str:
    each = [(vm, vm.idle_against(pool.min_idle, pool.min_idle_display)) for vm in vms]
    pairs: list[tuple[int, int]] = []
    for kind in range(max(len(of_vm) for _, of_vm in each)):
        there = [(vm, *of_vm[kind]) for vm, of_vm in each if kind < len(of_vm)]
        idle, target = sum(idle for _, idle, _ in there), sum(target for vm, _, target in there if vm.state.has_target)
        pairs.append((idle, target))
    return _both(pairs)


def _both(pairs: list[tuple[int, int]]) -> str:
    """Of workers without a display, and of those with one."""
    return "+".join(f"{idle}/{target}" for idle, target in pairs)
