"""The token with which programs on this machine call the HTTP API. It is made at the first start and kept."""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from common.config.settings import ApiSettings, TokenSettings
from common.runtime import files
from poolmgr.one_machine.folder import CannotRunError, StateFolder

NAME: Final = "up"
"""The token's name: in logs, and as the owner of its bots."""

_SHORTEST, _LONGEST = 20, 512  # as for `poolmgr token --stdin`


def keep(folder: StateFolder) -> str:
    """The token in the folder; if there is none, a new one is made. Only the owner can read its two files.

    The second file has the header for curl: on a command line every user could see it. Raises: CannotRunError.
    """
    try:
        token = folder.token_file.read_text().strip() if folder.token_file.exists() else ""
        if not token:
            token = f"pm_{secrets.token_urlsafe(32)}"
            _put(folder.token_file, token)
        folder.token_file.chmod(0o600)
        if not (_SHORTEST <= len(token) <= _LONGEST and token.isascii() and token.isprintable() and " " not in token):
            raise CannotRunError(
                f"cannot use the token in {folder.token_file}: it has to be {_SHORTEST} to {_LONGEST} printable ASCII"
                " characters, no spaces; remove the file, and a new one is made"
            )
        _put(folder.header_file, f"Authorization: Token {token}")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise CannotRunError(f"cannot keep the token in {folder.token_file}: {why}") from error
    return token


def with_token(token: str, api: ApiSettings) -> str:
    """The tokens of `api` and this one, in the form of POOLMGR_API__TOKENS. Raises: CannotRunError."""
    if any(token.name == NAME for token in api.tokens):
        raise CannotRunError(
            f"cannot add a token to api.tokens: the name {NAME!r} is taken there, and is that of the token which"
            " `poolmgr up` makes; call yours otherwise"
        )
    ours = TokenSettings(NAME, hashlib.sha256(token.encode()).hexdigest())
    return f"[{', '.join(_inline_table(token) for token in (*api.tokens, ours))}]"


def _inline_table(token: TokenSettings) -> str:
    """A token as TOML, in which texts, numbers and switches are written as in JSON."""
    fields = msgspec.to_builtins(token).items()
    return f"{{ {', '.join(f'{name} = {json.dumps(value)}' for name, value in fields)} }}"


def _put(path: Path, text: str) -> None:
    """Write a file atomically. Raises: OSError."""
    beside = path.with_suffix(".new")
    files.write(beside, f"{text}\n".encode())
    os.replace(beside, path)
