"""Secrets that systemd hands to a service as files (LoadCredential): which setting each is. Pure.

They count more than the configuration file and less than the environment, as they are nearer to the service than the
one and further from whoever starts it by hand than the other.
"""

from typing import Any, Final, NamedTuple


class Credential(NamedTuple):
    """The setting that it is. `is_path`: the setting is the file's name, and whoever reads it opens the file."""

    section: str
    key: str
    is_path: bool = False
    is_list: bool = False

    def __str__(self) -> str:
        return f"{self.section}.{self.key}"


CREDENTIALS: Final = {
    "redis_url": Credential("redis", "url"),
    "webhook_secrets": Credential("webhooks", "secrets", is_list=True),
    "api_tls_cert": Credential("api", "tls_cert", is_path=True),
    "api_tls_key": Credential("api", "tls_key", is_path=True),
    "evidence_upload_token": Credential("evidence", "upload_token_file", is_path=True),
}
"""By name, as it stands in the folder that systemd makes."""


def value_of(credential: Credential, text: str) -> Any:
    """What stands in the file, as the setting takes it: of a list, one on each line."""
    return text.split() if credential.is_list else text.strip()
