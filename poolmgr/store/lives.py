"""How long a key lives that nobody writes to any more, where no setting says so. The scripts name these, too."""

from typing import Final

DAY_S: Final = 86400

GRACE_S: Final = DAY_S
"""How much longer the record of an ended bot stays than it has to: the reaper is to take it off the indexes first."""

INDEX_LIFE_S: Final = 400 * DAY_S
"""Of an index that no bot has been added to: later than the end of any bot in it, scheduled a year ahead."""

STREAM_LIFE_S: Final = 7 * DAY_S

VM_LIFE_S: Final = DAY_S
"""Of a VM's workers and commands when nobody speaks to it, is heard of it, or leads; agent and reaper put it off."""

EPOCH_LIFE_S: Final = 30 * DAY_S
"""Until long after the last write of any leader that could still be delayed."""

JOB_STREAM_LIFE_S: Final = EPOCH_LIFE_S
"""Jobs may wait in their stream for the next leader."""

ENTRY_LIFE_S: Final = DAY_S
"""Of what the API says of a job that no leader takes."""

IDEMPOTENCY_LIFE_S: Final = DAY_S
"""How long a repeated Idempotency-Key is recognised; as the API says that our clients know."""

HELD_S: Final = 300
"""How long a leader holds a meeting for a bot to come: longer than any takes from a decision to its being durable; its
lease is over long before.
"""

TRIES_LIFE_S: Final = DAY_S

MARK_LIFE_S: Final = 15 * DAY_S
"""SQS keeps a message for at most 14 days, so that none can come again after the end of its mark."""

MARK_OF_DELETED_LIFE_S: Final = DAY_S
"""A standard queue may hand out a message that was deleted, when one of its servers missed that."""
