"""Which setting each credential of a systemd service (LoadCredential) is. Pure.

Systemd hands credentials over as files. They override the configuration file, and the environment overrides them.
"""

from typing import Any, Final, NamedTuple


class Credential(NamedTuple):
    """The setting that a credential gives. `is_path`: the setting is the file's path, not its content."""

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
    "deepgram_key": Credential("transcription", "deepgram_key_file", is_path=True),
    "openai_key": Credential("transcription", "openai_key_file", is_path=True),
}
"""The credentials, by the names of their files in the folder that systemd makes."""


def value_of(credential: Credential, text: str) -> Any:
    """The file's content as the setting takes it. For a list, each line is an element."""
    return text.split() if credential.is_list else text.strip()
