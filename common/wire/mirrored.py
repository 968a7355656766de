"""A session record as it stands in a table of DynamoDB: names, order of writes, end. Builds requests and sends none.

Whoever writes says how new its knowledge is: the id of the last entry of the status stream that it covers, as one
number. The table refuses what is older than what it has, so repeats and late writes change nothing, whoever sends them.
What a webhook's receiver has taken is only ever set. Standard library only: deploy/vendor.py copies this file to where
nothing else is.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html
"""

from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "bot_id"
FIELDS: Final = (
    "meeting_url", "platform", "user_id", "calendar_event_id", "owner", "state", "status", "status_reason",
    "attribution", "attempt", "vm_id", "worker_id", "created_at", "assigned_at", "joining_at", "inmeeting_at",
    "stopped_at",
)  # fmt: skip
"""As they are called in the session record. An empty one is not in the table."""

FLAGS: Final = ("audio_webhook_received", "transcript_webhook_received")
SEQUENCE: Final = "sequence"
ENDS: Final = "expires_at"
"""The attribute by which DynamoDB deletes an item: epoch seconds."""

DELETED: Final = "deleted"
DELETED_LIFE_S: Final = 86_400
"""How long an item says that its bot was deleted, so that nothing late makes it anew."""

LIVE_S: Final = 400 * 86_400
"""How long the item of a bot that has not ended lives: as long as its record at most."""

_SHARE: Final = 1_000_000
_NEWER: Final = f"attribute_not_exists(#{SEQUENCE}) OR #{SEQUENCE} <= :{SEQUENCE}"


def sequence(entry_id: str) -> int:
    """A stream's id (`milliseconds-number`) as one number, in the same order. Raises: ValueError."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds) * _SHARE + min(int(number or 0), _SHARE - 1)


def update(
    table: str, bot_id: str, covers: int, ends_at: int, fields: Mapping[str, str], flags: Mapping[str, bool]
) -> dict[str, Any]:
    """An UpdateItem that writes these fields, and sets these flags where they are true, unless the table is newer.

    `covers`: the sequence number of what is known. Refused with ConditionalCheckFailedException.
    """
    names = {f"#{name}": name for name in (*fields, *flags, DELETED, ENDS, SEQUENCE)}
    sets = [f"#{SEQUENCE} = :{SEQUENCE}", f"#{ENDS} = :{ENDS}"]
    values: dict[str, dict[str, Any]] = {f":{SEQUENCE}": {"N": str(covers)}, f":{ENDS}": {"N": str(ends_at)}}
    for name, value in fields.items():
        if value:
            sets.append(f"#{name} = :{name}")
            values[f":{name}"] = {"N": value} if name == "attempt" else {"S": value}
    for name, is_set in flags.items():
        sets.append(f"#{name} = :{name}" if is_set else f"#{name} = if_not_exists(#{name}, :{name})")
        values[f":{name}"] = {"BOOL": is_set}
    gone = [f"#{name}" for name in (DELETED, *(name for name, value in fields.items() if not value))]
    return {
        "TableName": table,
        "Key": {KEY: {"S": bot_id}},
        "UpdateExpression": f"SET {', '.join(sets)} REMOVE {', '.join(gone)}",
        "ConditionExpression": _NEWER,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def mark(table: str, bot_id: str, flag: str, ends_at: int) -> dict[str, Any]:
    """An UpdateItem that sets one flag, whatever else is known of the bot, unless it was deleted."""
    return {
        "TableName": table,
        "Key": {KEY: {"S": bot_id}},
        "UpdateExpression": f"SET #{flag} = :set, #{ENDS} = if_not_exists(#{ENDS}, :{ENDS})",
        "ConditionExpression": f"attribute_not_exists(#{DELETED})",
        "ExpressionAttributeNames": {f"#{name}": name for name in (flag, ENDS, DELETED)},
        "ExpressionAttributeValues": {":set": {"BOOL": True}, f":{ENDS}": {"N": str(ends_at)}},
    }


def deletion(table: str, bot_id: str, covers: int, now: float) -> dict[str, Any]:
    """A PutItem after which nothing is left of the bot but that it was deleted, unless the table is newer."""
    return {
        "TableName": table,
        "Item": {
            KEY: {"S": bot_id},
            SEQUENCE: {"N": str(covers)},
            DELETED: {"BOOL": True},
            ENDS: {"N": str(int(now) + DELETED_LIFE_S)},
        },
        "ConditionExpression": _NEWER,
        "ExpressionAttributeNames": {f"#{SEQUENCE}": SEQUENCE},
        "ExpressionAttributeValues": {f":{SEQUENCE}": {"N": str(covers)}},
    }
