"""The Chromium switches that an operator may not set, because poolmgr could not keep its promises with them."""

from collections.abc import Iterable, Iterator
from typing import Final

_REFUSED: Final = {
    "--no-sandbox": "a meeting's page would no longer be kept apart from the VM; run the agent as a user, not as root",
    "--disable-setuid-sandbox": "a meeting's page would no longer be kept apart from the VM",
    "--single-process": "one page that crashes would take the browser with it",
    "--remote-debugging-*": "the agent chooses where it reaches the browser; whoever else does owns the bot",
    "--remote-allow-origins": "a page could reach the debugging port; whoever does owns the bot",
    "--user-data-dir": "every worker has a folder of its own, which goes with it",
    "--headless": "that is worker.headless",
    "--lang": "pages are recognised by their English texts",
    "--accept-lang": "pages are recognised by their English texts",
    "--disable-web-security": "one site could read another's pages",
    "--ignore-certificate-errors": "anybody on the way could be the meeting's host; for test pages there is"
    " --ignore-certificate-errors-spki-list, which names the keys that are trusted",
    "--disable-blink-features": "a page may see that a program drives the browser: bots do not hide",
}


def faults_of(arguments: Iterable[str]) -> Iterator[str]:
    """One sentence for each switch that may not be set."""
    for argument in arguments:
        name = argument.partition("=")[0]
        if not name.startswith("--") or len(name) == len("--"):
            yield f"{argument[:60]!r} is no switch: it does not begin with --, or names nothing"
        else:
            for refused, why in _REFUSED.items():
                if name == refused or (refused.endswith("*") and name.startswith(refused[:-1])):
                    yield f"{name} is not taken: {why}"
