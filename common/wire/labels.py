"""Labels of a VM, and those that a job requires of one: names and values, few and short. Pure."""

from typing import Annotated, Final

from msgspec import Meta

MOST_LABELS: Final = 16

# `$` alone would let a line break through, and \Z is no regular expression of JSON Schema.
LabelName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$(?!\n)")]
LabelValue = Annotated[str, Meta(pattern=r"^[!-~]([ -~]{0,126}[!-~])?$(?!\n)")]
"""1 to 128 printable ASCII characters, without blanks around."""


def named(labels: dict[str, str]) -> str:
    """For people: `account=a, region=eu`."""
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
