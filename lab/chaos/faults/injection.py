"""One fault at one moment against one target, as it happened, or as it is to happen again."""

from enum import StrEnum

import msgspec


class Moment(StrEnum):
    """A moment of a job's bot that is known from outside: by the witness, or from the suite's request that it leave."""

    LOBBY = "lobby"
    INSIDE = "inside"
    LEFT = "left"
    GONE = "gone"
    ASKED = "asked"


class Blow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`fault`: of FAULTS. `at_s`: when in the round; with `after`: how long after that moment of `job`. Its target is
    the part `target`; or the browser of `job`, or the driver or agent of its VM, whichever the fault hits; or the
    leader.
    """

    at_s: float
    fault: str
    lasts_s: float = 0.0
    target: str = ""
    job: str = ""
    after: Moment | None = None
