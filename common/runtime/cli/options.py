"""Options that the same command of both programs takes."""

from pathlib import Path

import click

from common.config import variables

again_after = click.option(
    "--again-after",
    "again_after_s",
    type=click.FloatRange(min=0, max=3600),
    default=5.0,
    show_default=True,
    metavar="S",
    help="Look a second time after S seconds, and print only what was found both times.",
)
bot_name = click.option(
    "--name", "bot_name", metavar="NAME", default="Probe", show_default=True, help="What the bot is called."
)
passcode = click.option(
    "--passcode",
    metavar="CODE",
    envvar=variables.PROBE_PASSCODE,
    help="What it types where the page asks for a passcode.",
)
stay = click.option(
    "--stay",
    "stay_s",
    type=click.IntRange(min=1, max=86400),
    metavar="S",
    help="How long it stays once it is in.  [default: a few seconds]",
)
save_seen = click.option(
    "--save",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write what it saw there: a zip file with a picture of each screen.",
)
