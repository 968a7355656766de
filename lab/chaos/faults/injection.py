"""One fault at one moment to one target: as it was inflicted, or is to be inflicted again."""

from enum import StrEnum

import msgspec


class Moment(StrEnum):
    """What is known from outside of a job's bot: by the witness, and by who asked it to leave."""

    LOBBY = "lobby"
    INSIDE = "inside"
    LEFT = "left"
    GONE = "gone"
    ASKED = "asked"


class Blow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`fault`: of FAULTS. `at_s`: into the round, or, with `after`, since that moment of `job` came first.

    Whom it hits: the part named `target`; or the browser of `job`, or the driver or the agent of its VM, as the fault
    demands; or who leads.
    """

    at_s: float
    fault: str
    lasts_s: float = 0.0
    target: str = ""
    job: str = ""
    after: Moment | None = None
