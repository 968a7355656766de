"""Settings without secrets, for display. Hidden are passwords in a Redis URL, and hashes of tokens."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from common.config.settings import Settings
from common.links.redaction import redact

HIDDEN: Final = "***"
_SECRET: Final = re.compile(r"secret|key|token|password|sas|credential")


def masked(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings by section and key, without secrets."""
    shown: dict[str, dict[str, Any]] = msgspec.to_builtins(settings)
    shown["redis"]["url"] = mask_url(settings.redis.url)
    shown["evidence"]["upload_url"] = mask_url(settings.evidence.upload_url)
    for token in shown["api"]["tokens"]:
        token["sha256"] = HIDDEN
    options: dict[str, str] = shown["capture"]["store_options"]
    shown["capture"]["store_options"] = {
        name: HIDDEN if _SECRET.search(name) else value for name, value in options.items()
    }
    for probe in shown["probes"]["links"]:
        probe["link"] = redact(probe["link"])
        probe["passcode"] = HIDDEN if probe["passcode"] else ""
    shown["webhooks"]["secrets"] = [HIDDEN for _ in settings.webhooks.secrets]
    return shown


def mask_url(url: str) -> str:
    """A Redis URL without its passwords, wherever they stand: `redis://user:password@host`, `?password=` or
    `?sentinel_password=`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition('://')[0]}://{HIDDEN}"
    login, at, _ = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    if at:
        url = url.replace(f"//{login}@", f"//{user}:{HIDDEN}@" if colon else f"//{HIDDEN}@", 1)
    return re.sub(r"([?&](?:sentinel_)?password=)[^&#]*", rf"\g<1>{HIDDEN}", url, flags=re.IGNORECASE)
