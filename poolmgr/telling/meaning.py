"""What each end reason means for an operator, and what to do about it. docs/operations.md says the same."""

import re
from typing import Final, NamedTuple

from common.wire.vocabulary import Reason


class Meaning(NamedTuple):
    """`what` happened, and what to `do`, as Markdown with links, as in docs/operations.md."""

    reasons: tuple[Reason, ...]
    what: str
    do: str


MEANINGS: Final = (
    Meaning((Reason.USER_REQUESTED,), "somebody asked for it (`poolmgr leave`)", "nothing"),
    Meaning(
        (
            Reason.MEETING_ENDED,
            Reason.EVERYONE_LEFT,
            Reason.NO_ONE_JOINED,
            Reason.ONLY_BOTS_LEFT,
            Reason.SILENCE,
            Reason.MAX_DURATION,
        ),
        "the meeting was over, empty or silent for the job's own timeout",
        "nothing",
    ),
    Meaning(
        (
            Reason.REMOVED_BY_HOST,
            Reason.REQUEST_DENIED,
            Reason.WAITING_ROOM_TIMEOUT,
            Reason.HOST_NOT_STARTED,
            Reason.NEVER_ADMITTED,
        ),
        "a person in the meeting decided, or nobody did in time",
        "nothing",
    ),
    Meaning(
        (Reason.SESSION_LIMIT,),
        "it had been there for `worker.session_limit_s`, whatever its job allows",
        "a longer `worker.session_limit_s`, if meetings last so long",
    ),
    Meaning(
        (
            Reason.SIGN_IN_REQUIRED,
            Reason.ORG_ONLY,
            Reason.REGISTRATION_REQUIRED,
        ),
        "the meeting takes only people whom it knows",
        "the host's settings, or a signed-in account for the bot",
    ),
    Meaning(
        (
            Reason.PASSCODE_MISSING,
            Reason.PASSCODE_WRONG,
            Reason.MEETING_NOT_FOUND,
        ),
        "the link, or the job's passcode, leads nowhere",
        "the client's link, whole and as it was sent",
    ),
    Meaning(
        (
            Reason.MEETING_LOCKED,
            Reason.RECORDING_PERMISSION_DENIED,
        ),
        "the host said no",
        "nothing",
    ),
    Meaning(
        (
            Reason.CAPTCHA,
            Reason.PLATFORM_BLOCKED,
        ),
        "the platform does not take this guest, often because of the network it comes from",
        "`poolmgr explain BOT`; a signed-in account, another network",
    ),
    Meaning((Reason.MEETING_FULL,), "the meeting is full", "nothing"),
    Meaning(
        (Reason.UNEXPECTED_REDIRECT,),
        "the link led to a page outside its platform",
        "open the link from the VM",
    ),
    Meaning(
        (
            Reason.NO_MEDIA,
            Reason.ICE_FAILED,
        ),
        "in the meeting, and nothing was received from the others while they spoke, or no media connection came about",
        "UDP and TURN from the VM: firewall, NAT",
    ),
    Meaning(
        (Reason.CAPTURE_FAILED,),
        "never, in this release: a recording that fails ends no bot; `poolmgr explain` tells of it",
        "",
    ),
    Meaning(
        (Reason.HEARTBEAT_TIMEOUT,),
        "its VM was not heard of for `pool.lost_after_s`",
        "[A VM is silent or lost](#a-vm-is-silent-or-lost)",
    ),
    Meaning(
        (Reason.INVALID_REQUEST,),
        "the job was rejected; only in the status stream, for a job that named a bot_id",
        "[dead jobs](#jobs-in-dead)",
    ),
    Meaning(
        (Reason.PAGE_LOAD_FAILED,),
        "the page could not be loaded: network, DNS, HTTP error",
        "open the link from the VM; `reason_detail` has the `net::ERR_` or HTTP code",
    ),
    Meaning(
        (Reason.UI_ELEMENT_NOT_FOUND,),
        "the page showed nothing known until the deadline",
        "the platform may have changed its page: [docs/adapters.md](adapters.md)",
    ),
    Meaning((Reason.CONNECTION_LOST,), "the platform said that the connection broke", "the VM's network"),
    Meaning(
        (Reason.BROWSER_CRASHED,),
        "the process or the page died",
        "the VM's memory and kernel log; `worker_gone` has the last words",
    ),
    Meaning(
        (Reason.BROWSER_HUNG,),
        "three calls in a row unanswered, or `page_too_loud` in the agent's log",
        "the VM's CPU: too many bots for it?",
    ),
    Meaning(
        (Reason.MEMORY_LIMIT,),
        "its browser held more than `worker.memory_limit_mb`, or hung or crashed while it took a third of that",
        "a heavy meeting, or a leak: `memory_limit_reached` in the agent's log",
    ),
    Meaning(
        (Reason.CUT_OFF,),
        "its VM did not reach Redis for half of `pool.lost_after_s`, and its job asked for `rejoin`",
        "what lies between the VM and Redis",
    ),
    Meaning(
        (Reason.OVERDUE,),
        "it outlived every limit of its own, and was ended by force; a fault of ours, or a VM that stood still",
        "[Something is overdue](#something-is-overdue)",
    ),
    Meaning(
        (Reason.WORKER_LOST,),
        "its worker disappeared without a report, or no agent claimed it in time",
        "[A VM is silent or lost](#a-vm-is-silent-or-lost)",
    ),
    Meaning(
        (Reason.NO_CAPACITY,),
        "no warm worker within `pool.queue_timeout_s`, or the job's own `queue_timeout`",
        "[The queue grows](#the-queue-grows)",
    ),
    Meaning(
        (Reason.MISSED_START,),
        "its `join_at` was longer ago than `pool.join_late_limit_s`, or the job's own `join_late_limit`",
        "the client's `join_at`; else who led then, or [The queue grows](#the-queue-grows)",
    ),
    Meaning(
        (Reason.UNSUPPORTED_PLATFORM,),
        "its agent has no adapter for the link's platform; none of this release's, and none that is installed there",
        "install one on the VMs: [docs/adapters.md](adapters.md#an-adapter-of-your-own)",
    ),
    Meaning(
        (Reason.SHUTDOWN,),
        "its agent was stopped and the drain deadline came",
        "a longer `worker.drain_timeout_s`, or drain first",
    ),
    Meaning((Reason.INTERNAL_ERROR,), "a fault of ours", "the agent's `session_failed` has the traceback: report it"),
)

_BY_REASON: Final = {reason: meaning for meaning in MEANINGS for reason in meaning.reasons}
_LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")


def meaning_of(reason: str) -> Meaning | None:
    """The meaning of a reason for a terminal, with links as names of documents; None: an unknown reason."""
    try:
        found = _BY_REASON.get(Reason(reason))
    except ValueError:
        return None
    return Meaning(found.reasons, _plain(found.what), _plain(found.do)) if found else None


def _plain(text: str) -> str:
    return _LINK.sub(_named, text).replace("`", "")


def _named(link: re.Match[str]) -> str:
    text, target = link.groups()
    if target.startswith("#"):
        return f'"{text}" in docs/operations.md'
    return text if text.startswith("docs/") else f"{text} (docs/{target})"
