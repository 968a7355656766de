"""The errors of a request, each with its HTTP status. This is the one place where errors become answers."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from common.errors import ManagerError

HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Server": "poolmgr"}
"""Headers of every answer."""


class Message(msgspec.Struct, frozen=True):
    """The request was refused, or its result is not there yet. `message`: says so, and what to change."""

    message: str


class ApiError(ManagerError):
    """The request is answered with `status` and {"message": ...}."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


def bad_request(message: str) -> ApiError:
    """400: the request has to be changed; `message` begins with the field."""
    return ApiError(400, message)


def bot_not_found() -> ApiError:
    """404: there is no bot of that id."""
    return ApiError(404, "Bot not found.")


def later(status: int, message: str, retry_after_s: float) -> ApiError:
    """An error with a Retry-After header in seconds."""
    return ApiError(status, message, {"Retry-After": str(max(1, math.ceil(retry_after_s)))})


def not_offered(message: str) -> ApiError:
    """501: no request of this kind is offered."""
    return ApiError(501, message)


def answer_of(error: ApiError) -> web.Response:
    """The error as an answer: its status, its headers, and {"message": ...}."""
    body = msgspec.json.encode(Message(error.message))
    return web.Response(status=error.status, body=body, content_type="application/json", headers=error.headers)


def from_aiohttp(error: web.HTTPException) -> ApiError:
    """An error of aiohttp's router in the words of this API."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return ApiError(405, f"{error.method[:20]} is not possible here; use {allowed}.", {"Allow": allowed})
        case web.HTTPNotFound():
            return ApiError(404, "There is nothing at this address; /api/v1/docs lists what there is.")
        case _:
            return ApiError(error.status, f"{error.reason}.")
