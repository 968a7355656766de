"""Traces as W3C's Trace Context has them: https://www.w3.org/TR/trace-context/. Pure.

A client may say with a job which of its own spans the job belongs to (`traceparent`). All spans of a bot have ids that
follow from that and from the bot's id: so manager and agent, and the leader after this one, name the same spans without
telling each other.
"""

import hashlib
import re
from typing import Final, NamedTuple, Self

LONGEST: Final = 512
"""Characters of a `traceparent` that is read: those of later versions may be longer than the 55 of today."""

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED: Final = 0x01


class Trace(NamedTuple):
    """A span and the trace that it is of. `trace_id`: 32 hexadecimal digits, `span_id`: 16. `parent_id`: of the span
    above it, or empty. `sampled`: whoever began the trace keeps it.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = True

    @classmethod
    def of_bot(cls, bot_id: str, traceparent: str = "") -> Self:
        """The span of a bot's whole life. Without a `traceparent` that can be read, it begins a trace."""
        span_id = _id(16, bot_id, "job")
        if above := read(traceparent):
            return cls(above.trace_id, span_id, above.span_id, above.sampled)
        return cls(_id(32, bot_id, "trace"), span_id)

    @classmethod
    def of_worker(cls, worker_id: str) -> Self:
        """The span of a worker's warm-up, which no bot waits for: a trace of its own."""
        return cls(_id(32, worker_id, "trace"), _id(16, worker_id, "warm"))

    def below(self, *names: str | int) -> Self:
        """The span of that name below this one."""
        return self._replace(span_id=_id(16, self.span_id, *names), parent_id=self.span_id)

    @property
    def traceparent(self) -> str:
        """What is handed on to who works for this span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def read(traceparent: str) -> Trace | None:
    """The span that a `traceparent` names; None where it is none: the specification has that ignored, as if there were
    no header.
    """
    matched = _TRACEPARENT.fullmatch(traceparent.strip())
    if not matched:
        return None
    version, trace_id, span_id, flags, more = matched.groups()
    if version == "ff" or (version == "00" and more) or not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return Trace(trace_id, span_id, sampled=bool(int(flags, 16) & _SAMPLED))


def _id(digits: int, *names: str | int) -> str:
    """Never all zeros, which stands for none."""
    text = hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()[:digits]
    return text if text.strip("0") else f"{text[:-1]}1"
