"""`up`: runs everything on this machine with one command, and prints what happens. poolmgr/one_machine does the
work.
"""

import os
import queue
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import msgspec

from common.runtime import config as files
from common.runtime.cli.session import Session, fail, with_session
from common.runtime.exits import EXIT_INTERRUPTED, EXIT_USAGE
from poolmgr.cli.program.up_words import lines
from poolmgr.one_machine.folder import CannotRunError, StateFolder, default_state_dir
from poolmgr.one_machine.news import CannotStart, Died, News, Ready
from poolmgr.one_machine.run import Order, run

_MOST_UNSAID: Final = 1000
_LAST_WORDS_S: Final = 1.0
_COLOURS: Final[dict[type[News], str]] = {Ready: "green", Died: "red", CannotStart: "red"}


@click.command
@click.option(
    "--min-idle",
    type=click.IntRange(0, 10_000),
    metavar="N",
    help="How many browsers stand warm.  [default: pool.min_idle]",
)
@click.option(
    "--state-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where data, token and logs are kept.  [default: $XDG_STATE_HOME/poolmgr; root: /var/lib/poolmgr]",
)
@with_session
def up(session: Session, *, min_idle: int | None, state_dir: Path | None) -> None:
    """Run manager, agent and a private Redis on this machine until Ctrl-C or SIGTERM.

    For up to 20 bots or so one machine is enough, and nothing has to be configured. A part that dies is started again;
    calls go on meanwhile. What is in Redis, the token and the calls outlive this program: the next start goes on where
    it was, also after kill -9.

    The Redis is a private one on a socket in DIR, with appendonly and no port, unless the configuration file or
    POOLMGR_REDIS__URL names another. Programs that call the HTTP API show the token in DIR/token, which is made at the
    first start. Each part's whole log is DIR/log/PART.log, 10 MB at most; here is what matters of it.

    The first Ctrl-C lets calls end (up to worker.drain_timeout_s), the second makes the bots leave now, the third ends
    all as it is.

    \b
    Examples:
      poolmgr up
      poolmgr up --min-idle 2
      POOLMGR_POOL__MAX_WORKERS=20 poolmgr up --config /etc/poolmgr/config.toml

    Exit code 0 after an orderly end, 2 when something has to be put right first, 1 when a part could not start
    otherwise, 130 when it had to end all as it was.
    """
    settings = session.settings
    pool = settings.pool
    if min_idle is not None:
        if min_idle > pool.max_workers:
            fail(f"cannot keep {min_idle} browsers warm: pool.max_workers is {pool.max_workers}; raise it", EXIT_USAGE)
        settings = msgspec.structs.replace(settings, pool=msgspec.structs.replace(pool, min_idle=min_idle))
    voice = _Voice(as_json=session.as_json)
    try:
        folder = StateFolder(state_dir or default_state_dir(os.environ, is_root=os.geteuid() == 0))
        exit_code = run(Order(folder, settings, session.path, files.named(session.path), min_idle), voice.tell)
    except CannotRunError as error:
        fail(str(error), EXIT_USAGE)
    except KeyboardInterrupt:  # before anything was started
        exit_code = EXIT_INTERRUPTED
    finally:
        voice.fall_silent()
    raise SystemExit(exit_code)


class _Voice:
    """Writes to standard output from its own thread. So a stopped terminal (Ctrl-S), or a reader that is slow or gone,
    never delays the supervisor. Lines that cannot be written are dropped.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._has_colours = sys.stdout.isatty()
        try:
            self._descriptor = sys.stdout.fileno()
        except OSError:  # a test's output, which is no file
            self._descriptor = -1
        self._unsaid: queue.Queue[str | None] = queue.Queue(_MOST_UNSAID)
        self._thread = threading.Thread(target=self._speak, name="voice", daemon=True)
        self._thread.start()

    def tell(self, what: News) -> None:
        text = msgspec.json.encode(what).decode() if self._as_json else "\n".join(self._shown(what))
        with suppress(queue.Full):
            self._unsaid.put_nowait(f"{text}\n")

    def fall_silent(self) -> None:
        try:
            self._unsaid.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_LAST_WORDS_S)

    def _shown(self, what: News) -> list[str]:
        colour = _COLOURS.get(type(what)) if self._has_colours else None
        return [click.style(line, fg=colour) for line in lines(what)] if colour else lines(what)

    def _speak(self) -> None:
        while (text := self._unsaid.get()) is not None:
            rest = text.encode(errors="replace")
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                return  # the reader is gone
