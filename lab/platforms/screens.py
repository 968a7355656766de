"""All screens of the pages, and how a bot can recognise them: the words, or the element, in each wording.

They follow the published facts, not the rules of the product. Screens have the names of the worker's `Screen`.
"""

from typing import Final, NamedTuple

from common.wire.vocabulary import Reason
from lab.platforms.scenario import Moment


class Shown(NamedTuple):
    """A screen of a platform's pages. `evidence`: one for each wording, a text, or an element as `css:SELECTOR`. `at`:
    the moment of a join at which it shows. `act`: what the people do to make it show; else the page shows it by itself.
    """

    platform: str
    screen: str
    seen_as: str
    evidence: tuple[str, ...]
    reason: Reason | None = None
    at: Moment = "load"
    act: str = ""


SCREENS: Final = (
    # Google Meet: facts 1.2, 1.3, 1.5
    Shown(
        "google_meet",
        "lobby",
        "waiting_room",
        (
            *("Asking to be let in", "You'll join the call when someone lets you in"),
            *("Please wait until a meeting host brings you into the call", "admits you to the call"),
            *("Asking to join", "Your request to join"),
        ),
        at="lobby",
    ),
    Shown("google_meet", "meeting", "in_meeting", ("css:[aria-label='Turn on captions']",), at="meeting"),
    Shown(
        "google_meet",
        "denied",
        "denied",
        ("Someone in the call denied your request to join", "You were denied", "weren't allowed to join"),
        Reason.REQUEST_DENIED,
        "lobby",
        "deny",
    ),
    Shown("google_meet", "ask_again", "denied", ("Ask to join again",), Reason.REQUEST_DENIED, "lobby"),
    Shown(
        "google_meet",
        "no_answer",
        "no_answer",
        ("No one responded to your request to join the call",),
        Reason.WAITING_ROOM_TIMEOUT,
        "lobby",
    ),
    Shown(
        "google_meet",
        "blocked",
        "blocked",
        ("You can't join this video call", "You can't join this meeting"),
        Reason.PLATFORM_BLOCKED,
    ),
    Shown(
        "google_meet",
        "refused",
        "refused",
        ("There is a problem connecting to this video call", "we encountered a problem joining"),
        Reason.PLATFORM_BLOCKED,
    ),
    Shown(
        "google_meet",
        "not_found",
        "not_found",
        (
            *("Check your meeting code", "Invalid video call name", "Your meeting code has expired"),
            "The meeting code you entered doesn't work",
        ),
        Reason.MEETING_NOT_FOUND,
    ),
    Shown(
        "google_meet",
        "sign_in",
        "sign_in",
        ("your Google Account", "Your sign-in credentials might have changed"),
        Reason.SIGN_IN_REQUIRED,
    ),
    Shown("google_meet", "full", "full", ("meeting is full", "meeting is full"), Reason.MEETING_FULL, "join"),
    Shown(
        "google_meet",
        "removed",
        "removed",
        ("You've been removed from the meeting", "You were removed from the meeting", "Removed from meeting"),
        Reason.REMOVED_BY_HOST,
        "meeting",
        "remove",
    ),
    Shown(
        "google_meet",
        "ended",
        "ended",
        ("Your host ended the meeting for everyone", "Meeting ended", "Call ended", "The call ended"),
        Reason.MEETING_ENDED,
        "meeting",
        "end",
    ),
    Shown(
        "google_meet",
        "left",
        "left",
        ("You left the meeting", "You've left the call"),
        Reason.MEETING_ENDED,
        "meeting",
    ),
    Shown("google_meet", "captcha", "captcha", ("css:iframe[src*=bframe]",), Reason.CAPTCHA),
    # Zoom: facts 2.2, 2.3, 2.5
    Shown(
        "zoom",
        "joining",
        "loading",
        ("Joining Meeting", "Connecting", "Loading", "Preparing the meeting"),
        at="join",
    ),
    Shown(
        "zoom",
        "lobby",
        "waiting_room",
        (
            *("Please wait, the meeting host will let you in soon.", "will let you in"),
            *("Host has joined. We've let them know you're here", "waiting room"),
        ),
        at="lobby",
    ),
    Shown("zoom", "meeting", "in_meeting", ("css:button[aria-label=Leave]",), at="meeting"),
    Shown(
        "zoom",
        "waiting_for_host",
        "waiting_for_host",
        ("Waiting for the host to start this meeting", "Waiting for the host to start the meeting"),
        at="lobby",
    ),
    Shown("zoom", "invalid", "waiting_for_host", ("This meeting link is invalid (3,001)",)),
    Shown(
        "zoom",
        "removed",
        "removed",
        ("You have been removed",),
        Reason.REMOVED_BY_HOST,
        "meeting",
        "remove",
    ),
    Shown(
        "zoom",
        "ended",
        "ended",
        (
            *("This meeting has been ended by host", "meeting has ended"),
            *("css:[aria-label='Meeting is end now']", "host ended the meeting"),
        ),
        Reason.MEETING_ENDED,
        "meeting",
        "end",
    ),
    Shown(
        "zoom",
        "sign_in",
        "sign_in",
        (
            *("Sign in to join this meeting", "sign in to join", "Only authenticated users can join"),
            *("This meeting requires authentication", "The host requires authentication on the commercial Zoom"),
        ),
        Reason.SIGN_IN_REQUIRED,
    ),
    Shown(
        "zoom",
        "blocked",
        "blocked",
        (
            *("Automated bots aren't allowed to join this meeting", "must use Zoom RTMS"),
            "detected you may be a bot",
        ),
        Reason.PLATFORM_BLOCKED,
    ),
    Shown(
        "zoom",
        "refused",
        "refused",
        ("your organization has disabled access to Zoom from the browser", "Joining Meeting Timeout"),
        Reason.PLATFORM_BLOCKED,
    ),
    Shown("zoom", "passcode", "passcode_prompt", ("css:input[placeholder*=asscode]",), Reason.PASSCODE_MISSING, "join"),
    Shown(
        "zoom",
        "passcode_wrong",
        "passcode_wrong",
        ("Passcode wrong", "The passcode is incorrect", "Invalid passcode"),
        Reason.PASSCODE_WRONG,
        "join",
    ),
    Shown("zoom", "captcha", "captcha", ("Check Captcha",), Reason.CAPTCHA),
    Shown("zoom", "locked", "locked", ("locked by the host", "locked by the host"), Reason.MEETING_LOCKED, "join"),
    # No source has these words: they are a guess.
    Shown(
        "zoom",
        "recording_denied",
        "recording_denied",
        ("The host denied your request to record",),
        Reason.RECORDING_PERMISSION_DENIED,
        "meeting",
    ),
    # Teams: facts 3.2, 3.3, 3.5
    Shown("teams", "launcher", "launcher", ("css:[data-tid=joinOnWeb]", "Join on this browser")),
    Shown("teams", "prejoin", "name_prompt", ("css:[data-tid=prejoin-display-name-input]",), at="prejoin"),
    Shown(
        "teams",
        "lobby",
        "waiting_room",
        (
            *("Someone will let you in shortly", "Someone will let you in soon", "You're in the lobby"),
            *("Waiting for someone to let you in", "Your request to join has been sent", "Waiting to be admitted"),
        ),
        at="lobby",
    ),
    Shown(
        "teams",
        "meeting",
        "in_meeting",
        ("css:#hangup-button", "css:[data-tid=hangup-main-btn]", "css:[data-inp=hangup-button]"),
        at="meeting",
    ),
    Shown(
        "teams",
        "denied",
        "denied",
        ("Sorry, but you were denied access to the meeting", "Your request to join was declined"),
        Reason.REQUEST_DENIED,
        "lobby",
        "deny",
    ),
    Shown(
        "teams",
        "removed",
        "removed",
        ("You've been removed from this meeting",),
        Reason.REMOVED_BY_HOST,
        "meeting",
        "remove",
    ),
    Shown("teams", "ended", "ended", ("Meeting ended", "Call ended"), Reason.MEETING_ENDED, "meeting", "end"),
    Shown(
        "teams",
        "sign_in",
        "sign_in",
        (
            *("We need to verify your info before you can join", "To join, sign in or use Teams on the web"),
            "You need to be signed in",
        ),
        Reason.SIGN_IN_REQUIRED,
        "join",
    ),
    Shown(
        "teams",
        "org_only",
        "org_only",
        ("External participants are not permitted to join before the event begins",),
        Reason.ORG_ONLY,
        "join",
    ),
    Shown("teams", "not_found", "not_found", ("Looks like the meeting URL is incorrect",), Reason.MEETING_NOT_FOUND),
    Shown("teams", "refused", "refused", ("we couldn't connect you",), Reason.PLATFORM_BLOCKED, "join"),
    Shown("teams", "captcha", "captcha", ("Verify you're a real person",), Reason.CAPTCHA),
    # Jitsi: facts 4.2, 4.3
    Shown("jitsi", "lobby", "waiting_room", ("Asking to join", "css:.lobby-screen"), at="lobby"),
    Shown("jitsi", "meeting", "in_meeting", ("css:[aria-label='Leave the meeting']",), at="meeting"),
    Shown(
        "jitsi",
        "denied",
        "denied",
        (
            *("Your request to join has been declined", "request to join has been rejected"),
            "declined by a moderator",
        ),
        Reason.REQUEST_DENIED,
        "lobby",
        "deny",
    ),
    Shown(
        "jitsi",
        "removed",
        "removed",
        ("You have been kicked", "kicked out of the meeting", "kicked you out of the meeting"),
        Reason.REMOVED_BY_HOST,
        "meeting",
        "remove",
    ),
    Shown(
        "jitsi",
        "ended",
        "ended",
        ("meeting has been terminated", "The conference has ended"),
        Reason.MEETING_ENDED,
        "meeting",
        "end",
    ),
    Shown(
        "jitsi",
        "refused",
        "refused",
        ("Unfortunately, something went wrong", "couldn't connect to the conference"),
        Reason.PLATFORM_BLOCKED,
    ),
    Shown("jitsi", "left", "left", ("Thank you for using",), Reason.MEETING_ENDED, "meeting"),
    Shown("jitsi", "passcode", "passcode_prompt", ("css:input[name=lockKey]",), Reason.PASSCODE_MISSING, "join"),
)
