"""Traces by W3C's Trace Context: https://www.w3.org/TR/trace-context/. Pure.

A client may say with a job to which of its own spans the job belongs (`traceparent`). The ids of all spans of a bot are
derived from that and from the bot's id. So manager, agent and the next leader use the same ids without exchanging them.
"""

import hashlib
import re
from typing import Final, NamedTuple, Self

LONGEST: Final = 512
"""The longest `traceparent` that is read: later versions may be longer than today's 55 characters."""

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED: Final = 0x01


class Trace(NamedTuple):
    """A span and its trace. `trace_id`: 32 hexadecimal digits, `span_id`: 16. `parent_id`: the id of the span above it,
    or empty. `sampled`: the client that began the trace keeps it.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = True

    @classmethod
    def of_bot(cls, bot_id: str, traceparent: str = "") -> Self:
        """The span of a bot's whole life. Without a valid `traceparent` it begins a trace."""
        span_id = _id(16, bot_id, "job")
        if above := read(traceparent):
            return cls(above.trace_id, span_id, above.span_id, above.sampled)
        return cls(_id(32, bot_id, "trace"), span_id)

    @classmethod
    def of_worker(cls, worker_id: str) -> Self:
        """The span of a worker's warm-up, in a trace of its own, because no bot waits for it."""
        return cls(_id(32, worker_id, "trace"), _id(16, worker_id, "warm"))

    def below(self, *names: str | int) -> Self:
        """The span with that name below this one."""
        return self._replace(span_id=_id(16, self.span_id, *names), parent_id=self.span_id)

    @property
    def traceparent(self) -> str:
        """The `traceparent` of this span, for the next program."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def read(traceparent: str) -> Trace | None:
    """The span that a `traceparent` names. None if it is invalid: the specification says to ignore it as if it were
    missing.
    """
    matched = _TRACEPARENT.fullmatch(traceparent.strip())
    if not matched:
        return None
    version, trace_id, span_id, flags, more = matched.groups()
    if version == "ff" or (version == "00" and more) or not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return Trace(trace_id, span_id, sampled=bool(int(flags, 16) & _SAMPLED))


def _id(digits: int, *names: str | int) -> str:
    """An id that is never all zeros, because zeros mean that there is none."""
    text = hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()[:digits]
    return text if text.strip("0") else f"{text[:-1]}1"
