"""The outcome of one attempt to deliver a webhook, as words from a closed set. Pure."""

from typing import Literal

import msgspec

Fault = Literal[
    "address_not_allowed", "bad_answer", "connection_failed", "redirected", "timeout", "tls_failed", "unanswered"
]


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of an attempt: the HTTP status, or the fault if there was no answer. `retry_after_s`: what the
    receiver asked for.
    """

    status: int = 0
    fault: Fault | None = None
    retry_after_s: float = 0.0
    took_s: float = 0.0

    @property
    def delivered(self) -> bool:
        return self.fault is None and 200 <= self.status < 300

    @property
    def word(self) -> str:
        """The fault, or the status as text, for logs and people."""
        return self.fault or str(self.status)

    @property
    def kind(self) -> str:
        """The fault, or the class of the status: a closed set of words, for metrics."""
        return self.fault or f"{self.status // 100}xx"
