"""Names the steps of a job, so that a test can end the process after each one as a power cut would.

    POOLMGR_CRASH_AFTER=jobs_taken       kill -9 as soon as this step is done
    POOLMGR_CRASH_AFTER=jobs_taken:3     ... for the third time

The next start has to correct what was done twice or half: `./dev chaos --steps` tries every step. Without the variable
a step costs one comparison.
"""

import os
import signal
from enum import StrEnum
from typing import Final

from common.config import variables

VARIABLE: Final = variables.CRASH_AFTER


class ManagerStep(StrEnum):
    """The manager's steps, in order."""

    LEASE_TAKEN = "lease_taken"
    POOL_RESTORED = "pool_restored"  # read from Redis; the decisions about it are not durable yet
    JOBS_TAKEN = "jobs_taken"  # they are in the list of taken jobs
    JOBS_DECIDED = "jobs_decided"  # the pool knows the bots, Redis does not
    JOBS_REJECTED = "jobs_rejected"
    DECISION_APPLIED = "decision_applied"  # when armed, decisions are applied one at a time
    EVENTS_READ = "events_read"
    EVENTS_APPLIED = "events_applied"  # their consequences are durable, they are not acknowledged
    EVENTS_ACKNOWLEDGED = "events_acknowledged"
    REQUESTS_READ = "requests_read"
    REQUESTS_APPLIED = "requests_applied"


class WebhookStep(StrEnum):
    """The manager's steps for the webhooks of a bot with a callback_url."""

    WEBHOOKS_PUT = "webhooks_put"  # they are in the bot's queue, the outbox entry is gone
    WEBHOOK_SENT = "webhook_sent"  # the receiver may have it; Redis does not know
    WEBHOOK_NOTED = "webhook_noted"


class AgentStep(StrEnum):
    """The agent's steps, in order."""

    COMMANDS_READ = "commands_read"
    WORKER_NOTED = "worker_noted"  # the journal has the worker, no browser is started yet
    BROWSER_SPAWNED = "browser_spawned"  # the process runs, nothing on the disk says whose it is
    BROWSER_MARKED = "browser_marked"
    WORKER_WARMED = "worker_warmed"
    COMMANDS_DELETED = "commands_deleted"
    JOIN_NOTED = "join_noted"  # the journal has the bot, its attempt is not claimed yet
    JOIN_CLAIMED = "join_claimed"  # claimed in Redis, not yet in the journal
    MEETING_ENTERED = "meeting_entered"  # the browser was asked to open the meeting
    MOVE_NOTED = "move_noted"  # the journal holds the bot's new state and the event
    # the journal has the reason why the bot leaves, or has left; no message about it was sent
    END_CONCLUDED = "end_concluded"
    EVIDENCE_KEPT = "evidence_kept"  # (as far as such an end has evidence)
    PAGE_EMPTIED = "page_emptied"  # the bot is out, its end is not reported
    END_NOTED = "end_noted"
    BROWSER_KILLED = "browser_killed"  # its folder is there
    WORKER_FORGOTTEN = "worker_forgotten"
    EVENTS_WRITTEN = "events_written"  # Redis has them, the journal does too


Step = ManagerStep | WebhookStep | AgentStep

_name, _, _time = os.environ.get(VARIABLE, "").partition(":")
_left = int(_time or 1)


def is_armed(step: Step) -> bool:
    """Whether this process is to end after `step`."""
    return _name == step


def done(step: Step) -> None:
    """Mark `step` as done."""
    global _left
    if _name == step:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
