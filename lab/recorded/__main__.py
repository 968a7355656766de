"""`./dev run python -m lab.recorded`: prints what the finished file of a long recorded call is like."""

import tempfile
from pathlib import Path
from typing import cast, get_args

import click
import uvloop

from lab.parts import StageError
from lab.recorded import call, found
from lab.recorded.call import Way


@click.command
@click.option(
    "--way", "ways", type=click.Choice(get_args(Way)), multiple=True, help="How it is recorded. [default: both]"
)
@click.option("--minutes", type=click.FloatRange(1.5, 600), default=2.0, show_default=True, help="How long.")
@click.option("--save", type=click.Path(path_type=Path, file_okay=False), help="Keep the files there.")
@click.option("--again", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Measure those again.")
def main(ways: tuple[str, ...], minutes: float, save: Path | None, again: Path | None) -> None:
    """Record a call, and measure its finished file.

    One bot for each way, at once in the same call. Somebody sends them two tones, 440 Hz left and 1,000 Hz right, loud
    for a fifth of each second, with a flash and a counter in the picture.
    """
    with tempfile.TemporaryDirectory(prefix="poolmgr-recorded-") as temporary:
        folder = again or save or Path(temporary)
        folders = [path for path in sorted(folder.iterdir()) if (path / call.NOTED).exists()] if again else []
        if not again:
            chosen: list[Way] = [cast("Way", way) for way in ways or get_args(Way)]
            try:
                folders = uvloop.run(call.hold(chosen, minutes, folder, lambda text: click.echo(text, err=True)))
            except StageError as error:
                raise click.ClickException(str(error)) from error
        for each in folders:
            click.echo("\n".join(found.lines(each)))


if __name__ == "__main__":
    main()
