"""Sends bundles of evidence to where the settings say: to Redis, or to a server."""

from common.config.settings import EvidenceSettings
from worker.link.evidence_outbox import Send, UnsentError
from worker.link.redis import Link, LinkError


def sender(link: Link, settings: EvidenceSettings) -> Send:
    """What sends bundles: to `evidence.upload_url` if that is set, else to Redis."""

    async def to_redis(bot_id: str, attempt: int, data: bytes, left_s: float) -> bool:
        try:
            return await link.keep_evidence(bot_id, attempt, data, left_s, settings.most_mb * 1024 * 1024)
        except LinkError as error:
            raise UnsentError(f"Redis: {error}") from error

    if not settings.upload_url:
        return to_redis
    from worker.link.upload import upload  # most agents use no HTTP, and its client takes much memory

    async def to_url(bot_id: str, attempt: int, data: bytes, _left_s: float) -> bool:
        await upload(settings, f"{bot_id}-{attempt}", data)
        return True

    return to_url
