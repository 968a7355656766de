"""`poolmgr doctor`: checks what keeps a manager on this machine from doing its work."""

from typing import Final

import click

from common.config.settings import Settings
from common.runtime.cli.doctor import report
from common.runtime.cli.session import Session, with_session
from common.runtime.doctor import redis
from common.runtime.doctor.checks import Check, Found, beside, error, ok, skipped, warning
from common.runtime.doctor.machine import open_files

_QUICK_S: Final = 5.0
_FILES: Final = 200
_BEHIND_S: Final = 60.0


@click.command
@click.option("--offline", is_flag=True, help="Leave out what needs the network, Redis too.")
@with_session
def doctor(session: Session, *, offline: bool) -> None:
    """Look for what keeps a manager from its work, and say what to do about it.

    Redis (version, persistence, maxmemory-policy, latency), this machine's clock against Redis', limits, the
    certificate of the API, its tokens, secrets for webhooks, keys for speech to text, the mirror. All side by side,
    each with its own deadline. Reads only, and may run beside a manager. `poolmgr-worker doctor` on a VM finds what
    keeps bots from joining from there.

    \b
    Examples:
      poolmgr doctor --config /etc/poolmgr/config.toml
      poolmgr doctor --json | jq -r '.checks[] | select(.severity != "ok") | "\\(.name): \\(.todo)"'

    Exit code 0 without an error, 1 with one.
    """
    report(session, checks(session.settings), offline=offline)


def checks(settings: Settings) -> list[Check]:
    """All that `poolmgr doctor` looks at."""
    return [
        *redis.checks(settings.redis),
        open_files(_FILES, settings.api.connections + settings.webhooks.at_once + _FILES),
        Check("certificate", _QUICK_S, lambda: beside(lambda: _certificate(settings))),
        Check("tokens", _QUICK_S, lambda: beside(lambda: _tokens(settings))),
        Check("webhooks", _QUICK_S, lambda: beside(lambda: _webhooks(settings))),
        Check("transcription", _QUICK_S, lambda: beside(lambda: _transcription(settings))),
        Check("mirror", _QUICK_S, lambda: _mirror(settings), needs_network=True),
    ]


def _certificate(settings: Settings) -> Found:
    from poolmgr.api.listen import CannotListenError, tls_context

    api = settings.api
    try:
        served = tls_context(api.tls_cert, api.tls_key)
    except CannotListenError as fault:
        return error(str(fault), "a certificate and its key in PEM that the manager's user may read")
    if served is None:
        local = api.listen.startswith(("127.", "[::1]", "localhost:"))
        facts = f"none; the API is served in the clear on {api.listen}"
        return ok(facts) if local else warning(facts, "api.tls_cert and api.tls_key, or a proxy with TLS before it")
    return ok(api.tls_cert)


def _tokens(settings: Settings) -> Found:
    if not settings.api.tokens:
        return warning("none: the HTTP API lets nobody in", "`poolmgr token NAME` makes one, and says where it goes")
    return ok(", ".join(token.name for token in settings.api.tokens))


def _transcription(settings: Settings) -> Found:
    from common.speech.calls import key_in
    from common.speech.provider import SpeechError
    from common.speech.whisper import fault_of

    transcription = settings.transcription
    if not transcription.offered:
        return skipped("no provider of speech to text is set up")
    for setting in ("deepgram_key_file", "openai_key_file"):
        try:
            key_in(getattr(transcription, setting))
        except SpeechError:
            return error(
                f"transcription.{setting}: cannot be read", "a file with the key that the manager's user may read"
            )
    if fault := fault_of(transcription):
        return error(fault, "docs/transcripts.md says what it needs")
    return ok(", ".join(transcription.offered))


async def _mirror(settings: Settings) -> Found:
    if not settings.mirror.table:
        return skipped("no table is set up (mirror.table)")
    from redis.exceptions import RedisError

    from common.runtime.redis.client import connect
    from poolmgr.store.keys import Keys
    from poolmgr.store.mirroring import Mirrored

    client = connect(settings.redis)
    try:
        standing = await Mirrored(client, Keys(settings.redis.prefix)).standing()
    except (RedisError, OSError):
        return skipped("Redis is not reached: see redis")
    finally:
        await client.aclose()
    if standing is None:
        return error("it has never run", "start `poolmgr mirror` (poolmgr-mirror.service) on one machine")
    facts = f"{standing.behind_s:.0f} s behind"
    if standing.filling:
        facts += f", fills in the table ({standing.filled} records so far): {standing.why}"
    if standing.refused:
        facts += f"; {standing.refused} items were refused for good (mirror_item_refused in its log)"
    if standing.fault:
        return error(f"{facts}; {standing.fault}", "docs/mirror.md says what it may do, and how the table has to be")
    if standing.behind_s > _BEHIND_S:
        return warning(facts, "is `poolmgr mirror` running, and does the table take as many writes?")
    return warning(facts, "look at its log") if standing.refused else ok(facts)


def _webhooks(settings: Settings) -> Found:
    if not settings.webhooks.secrets:
        todo = "webhooks.secrets: without one receivers cannot tell who sent them"
        return warning("they are not signed", todo)
    return ok(f"signed with {len(settings.webhooks.secrets)} secrets")
