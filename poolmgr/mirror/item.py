"""What is written into the table of a bot. Pure: the same record gives the same request."""

from typing import Any, Final

from common.jobs.record import Record, epoch
from common.wire import mirrored
from common.wire.vocabulary import BotState, outward_status

_TEXTS: Final = tuple(name for name in mirrored.FIELDS if name != "attempt")
_STATES: Final = frozenset(BotState)


def request_of(table: str, record: Record, covers: int, retention_s: float) -> dict[str, Any]:
    """The UpdateItem for a record. `covers`: how new it is (common/wire/mirrored.py). `retention_s`: how long it is
    kept after the bot's end.
    """
    fields = {name: str(getattr(record, name)) for name in _TEXTS}
    if not record.is_over and record.state in _STATES:
        # As the status stream told it. A bot that was put back into the lobby changes its status in its record alone.
        fields["status"] = outward_status(BotState(record.state))
    fields["attempt"] = str(record.attempt)
    flags = {name: bool(getattr(record, name)) for name in mirrored.FLAGS}
    return mirrored.update(table, record.bot_id, covers, ends_at(record, retention_s), fields, flags)


def ends_at(record: Record, retention_s: float) -> int:
    """When its item is to go, epoch seconds. Raises: ValueError for a record without the time of its beginning."""
    if record.is_over:
        return int(epoch(record.stopped_at) + retention_s)
    return int(epoch(record.created_at)) + mirrored.LIVE_S
