"""`./dev run python -m lab.recorded`: prints what the finished file of a long recorded call is like."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
import uvloop

from lab.parts import StageError
from lab.recorded import call, found
from lab.recorded.call import Way
from lab.recorded.trouble import Trouble


@click.command
@click.option(
    "--way",
    "ways",
    type=click.Choice(get_args(Way)),
    multiple=True,
    default=("tab", "display"),
    show_default=True,
    help="How it is recorded.",
)
@click.option("--bots", type=click.IntRange(1, 100), default=1, show_default=True, help="How many of each way.")
@click.option(
    "--full", is_flag=True, help="In place of --bots: as many of one way as the pool admits beside the speaker."
)
@click.option("--minutes", type=click.FloatRange(1.5, 600), default=2.0, show_default=True, help="How long.")
@click.option(
    "--trouble",
    "troubles",
    type=click.Choice(get_args(Trouble)),
    multiple=True,
    help="What goes wrong meanwhile: killed twice, away for a minute.",
)
@click.option("--save", type=click.Path(path_type=Path, file_okay=False), help="Keep the files there.")
@click.option("--again", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Measure those again.")
def main(
    ways: Sequence[Way],
    bots: int,
    full: bool,
    minutes: float,
    troubles: Sequence[Trouble],
    save: Path | None,
    again: Path | None,
) -> None:
    """Record a call, and measure its finished files.

    Bots of each way, at once in the same call. Somebody sends them two tones, 440 Hz left and 1,000 Hz right, loud
    for a fifth of each second, with a flash and a counter in the picture, and near the beginning and the end a
    spoken sentence without them (where espeak-ng is installed). What is missing in a file is found in the
    file, and compared with the gaps that its manifest tells of.
    """
    with tempfile.TemporaryDirectory(prefix="poolmgr-recorded-") as temporary:
        folder = again or save or Path(temporary)
        folders = [path for path in sorted(folder.iterdir()) if (path / call.NOTED).exists()] if again else []
        if not again:
            if full and len(ways) > 1:
                raise click.UsageError("--full is for one --way")
            each = call.admitted(ways[0]) if full else bots
            try:
                held = call.hold(ways, each, minutes, folder, lambda text: click.echo(text, err=True), troubles)
                folders = uvloop.run(held)
            except* StageError as errors:
                raise click.ClickException("\n".join(map(str, errors.exceptions))) from None
        for each in folders:
            click.echo("\n".join(found.lines(each)))


if __name__ == "__main__":
    main()
