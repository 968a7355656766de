"""Uploads bundles of evidence to `evidence.upload_url`. Imported only where that is set."""

from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from common.config.settings import EvidenceSettings
from common.links.redaction import redact
from worker.link.evidence_outbox import SUFFIX, RefusedError, UnsentError

UPLOAD_S: Final = 60.0


async def upload(settings: EvidenceSettings, name: str, data: bytes) -> None:
    """PUT a bundle to the configured address. Follows no redirect and uses no proxy. Raises: UnsentError."""
    where = redact(settings.upload_url)
    headers = {"Content-Type": "application/zip"}
    if settings.upload_token_file:
        headers["Authorization"] = f"Bearer {_token(settings.upload_token_file)}"
    url = f"{settings.upload_url.rstrip('/')}/{name}{SUFFIX}"
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=UPLOAD_S)) as session,
            session.put(url, data=data, headers=headers, allow_redirects=False) as answer,
        ):
            status = answer.status
    except (ClientError, TimeoutError, ValueError) as error:
        raise UnsentError(f"{where}: {type(error).__name__}") from error
    if not 200 <= status < 300:
        raise (RefusedError if 400 <= status < 500 else UnsentError)(f"{where}: HTTP {status}")


def _token(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnsentError(f"cannot read evidence.upload_token_file: {type(error).__name__}") from error
