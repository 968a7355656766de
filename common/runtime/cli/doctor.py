"""The command `doctor` of both programs: prints what its checks found, and what to do."""

import asyncio
from collections.abc import Sequence
from typing import Final

import click

from common.runtime.cli.session import Session, put_json, say
from common.runtime.cli.text import count, literal
from common.runtime.doctor.checks import Check, Diagnosis, Severity, carry_out, is_well
from common.runtime.exits import EXIT_FAILED

_COLOURS: Final = {
    Severity.OK: "green", Severity.SKIPPED: "bright_black", Severity.WARNING: "yellow", Severity.ERROR: "red",
}  # fmt: skip


def report(session: Session, checks: Sequence[Check], *, offline: bool) -> None:
    """Carry out the checks and print them. Ends the program with EXIT_FAILED if one found an error."""
    found = asyncio.run(carry_out(checks, offline=offline))
    well = is_well(found)
    if session.as_json:
        put_json({"ok": well, "checks": [diagnosis._asdict() for diagnosis in found]})
    else:
        width = max(len(diagnosis.name) for diagnosis in found)
        for diagnosis in found:
            _print(diagnosis, width)
        errors = sum(diagnosis.severity is Severity.ERROR for diagnosis in found)
        warnings = sum(diagnosis.severity is Severity.WARNING for diagnosis in found)
        say(f"{count(errors, 'error')}, {count(warnings, 'warning')}")
    if not well:
        raise SystemExit(EXIT_FAILED)


def _print(diagnosis: Diagnosis, width: int) -> None:
    word = click.style(f"{diagnosis.severity:<8}", fg=_COLOURS[diagnosis.severity])
    click.echo(f"{word} {diagnosis.name:<{width}}  {literal(diagnosis.what)}")
    if diagnosis.todo:
        click.echo(f"{'':{9 + width}}  -> {literal(diagnosis.todo)}")
