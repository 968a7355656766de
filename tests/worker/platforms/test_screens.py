"""Every row of the facts on the platforms' pages is recognised, and what looks like it and is not, is not."""

from typing import Final, NamedTuple

import msgspec
import pytest
from playwright.async_api import Page
from yarl import URL

from tests.waiting import PATIENCE_S
from tests.worker.platforms.conftest import WRITE, Show, rewrite
from worker.decide.participants import LookRequest
from worker.decide.words import Screen, Seen
from worker.platforms import adapter_for
from worker.platforms.rules import NOTHING

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEET: Final = "https://meet.google.com/abc-defg-hij?hl=en"
ZOOM: Final = "https://app.zoom.us/wc/123456789/join?pwd=secret"
TEAMS: Final = "https://teams.microsoft.com/v2/?meetingjoin=true#/l/meetup-join/19%3a/0?context=secret"
JITSI: Final = "https://meet.jit.si/Room#config.startWithAudioMuted=true"
ADDRESS: Final = {"google_meet": MEET, "zoom": ZOOM, "teams": TEAMS, "jitsi": JITSI}
MEET_FIRST: Final = [
    pytest.param(platform, marks=() if platform == "google_meet" else pytest.mark.long) for platform in ADDRESS
]
"""Where one set of rules after the other is tried in the same way."""

S: Final = Screen


class Row(NamedTuple):
    platform: str
    screen: Screen
    rule: str
    html: str
    url: str = ""


def dialog(text: str) -> str:
    return f"<div role=dialog><h2>{text}</h2><button>OK.</button></div>"


def bar(*labels: str, style: str = "") -> str:
    return f"<div style='{style}'>" + "".join(f"<button aria-label='{label}'>x</button>" for label in labels) + "</div>"


MEET_BAR: Final = bar(
    "Leave call", "People - 3 joined", "Chat with everyone - New message", "Raise hand", "Share screen"
)
MEET_LOBBY_BAR: Final = MEET_BAR + bar("Turn off microphone", "Turn off camera")
ZOOM_BAR: Final = "<div id=wc-footer footer-section=right><button aria-label=Leave>Leave</button> 3 participants</div>"
TEAMS_BAR: Final = (
    "<button id=hangup-button>Leave</button><button data-tid=roster-button aria-label='People 3'>People</button>"
    "<button id=raisehands-button>Raise</button><button aria-label=React>React</button>"
)
# What a call tells of others than the bot, and of what else than the call ends.
ABOUT_OTHERS: Final = (
    "Ann was removed from the meeting", "Ann removed you from the spotlight", "You were removed from the breakout room",
    "Call ended for Ben", "Your previous meeting ended", "Ann has ended the meeting recording", "You left the meeting chat",
    "Ann is asking to join", "Ann is waiting to be admitted",
)  # fmt: skip
HANGUP: Final = "<div class=hangup-button aria-label='Leave the meeting' role=button>x</div>"
APP: Final = """<script>{
  const state = { "features/base/conference": {}, "features/lobby": {}, "features/base/participants": {}, ...STATE };
  globalThis.APP = { store: { getState: () => state }, conference: { isJoined: () => JOINED, _room: ROOM } };
}</script>"""


def app(*, joined: bool = False, state: str = "{}", room: str = "null") -> str:
    return APP.replace("STATE", state).replace("JOINED", str(joined).lower()).replace("ROOM", room)


ROWS: Final = [
    # 1.3 and 1.5, Google Meet
    Row("google_meet", S.NAME_PROMPT, "join-button", "<input type=text aria-label='Your name'><button><i>mic_off</i><span>Ask to join</span></button>"),
    *(
        Row("google_meet", S.NAME_PROMPT, "join-button", f"<button><span>{label}</span></button>")
        for label in (
            "Ask to join anyway", "Join now", "Join the call now", "Join anyway", "Join here too", "Switch here",
            "Join meeting", "Enter meeting",
        )
    ),
    Row("google_meet", S.NAME_PROMPT, "join-button-off", "<button disabled>Ask to join</button>"),
    Row("google_meet", S.NAME_PROMPT, "join-button", "<input type=submit value='Join anyway'>"),
    Row("google_meet", S.NAME_PROMPT, "join-button", "<button>Ask to join</button><p>You can speak when the host joins</p>"),
    Row("google_meet", S.NAME_PROMPT, "join-button", "<button>Ask to join</button><p>Someone will let you in soon</p>"),
    Row("google_meet", S.NAME_PROMPT, "name-field", "<input type=text aria-label='Your name'>"),
    *(Row("google_meet", S.WAITING_ROOM, "lobby-words", f"<h1>{text}</h1>{MEET_LOBBY_BAR}") for text in ("Asking to be let in", "Asking to join…")),
    *(
        Row("google_meet", S.WAITING_ROOM, "lobby-text", f"<h1>{text}</h1>{MEET_LOBBY_BAR}")
        for text in (
            "You’ll join the call when someone lets you in",
            "Please wait until a meeting host brings you into the call", "When a host admits you to the call",
            "Waiting for the host", "You are waiting to be let in", "You'll <b>join\n the call</b> when ...",
        )
    ),
    Row("google_meet", S.WAITING_ROOM, "lobby-request-text", "<p>Your request to join was noted</p>"),
    Row("google_meet", S.WAITING_ROOM, "lobby-label", "<div aria-label='Please wait until somebody comes'>.</div>" + MEET_BAR),
    Row("google_meet", S.WAITING_FOR_HOST, "waiting-for-host-text", "<h1>Waiting for the host to join</h1>"),
    Row("google_meet", S.IN_MEETING, "call-controls", MEET_BAR),
    Row("google_meet", S.IN_MEETING, "call-controls-hidden", f"<div style='visibility: hidden'>{MEET_BAR}</div>"),
    Row("google_meet", S.IN_MEETING, "call-controls-hidden", f"<div style='opacity: 0'>{MEET_BAR}</div>"),
    Row("google_meet", S.IN_MEETING, "call-tile", "<div data-participant-id=1>Ann</div>" + bar("Leave call")),
    Row("google_meet", S.IN_MEETING, "call-tile", bar("Turn on captions", "Leave call")),
    Row("google_meet", S.UNKNOWN, "", bar("Leave call", "Turn off microphone", "Turn off camera")),
    Row("google_meet", S.UNKNOWN, "", "<div data-participant-id=1><i aria-label='Visual effects'>.</i></div>"),
    *(
        Row("google_meet", S.DENIED, "request-denied", f"<h1>{text}</h1><button>Return to home screen</button>")
        for text in (
            "Someone in the call denied your request to join",
            "You can't join this video call. Someone in the call denied your request to join",
        )
    ),
    *(
        row
        for text in ("You were denied", "You weren’t allowed to join")
        for row in (
            Row("google_meet", S.DENIED, "request-denied-heading", f"<h1>{text}</h1><button>Ask to join</button>"),
            Row("google_meet", S.DENIED, "request-denied-heading", f"{dialog(text)}<button>Ask to join</button>"),
            Row("google_meet", S.DENIED, "request-denied-text", f"<p>{text}</p><button>Return to home screen</button>"),
            Row("google_meet", S.NAME_PROMPT, "join-button", f"<p>{text} and Ann are in this call</p><button>Ask to join</button>"),
        )
    ),
    Row("google_meet", S.DENIED, "ask-again-button", "<button>Ask to join again</button>"),
    Row("google_meet", S.NO_ANSWER, "request-expired", "<h1>You can’t join this call</h1><p>No one responded to your request to join the call</p><button>Return to home screen</button>"),
    *(
        Row("google_meet", S.BLOCKED, "cannot-join-text", f"<h1>{text}</h1><button>Return to home screen</button>")
        for text in (
            "You can't join this video call", "You can’t join this meeting",
        )
    ),
    Row("google_meet", S.SIGN_IN, "sign-in-page", "<h1>Sign in</h1>", "https://accounts.google.com/v3/signin?continue=x"),
    Row("google_meet", S.SIGN_IN, "sign-in-heading", "<h1>Sign in</h1><p>Use your Google Account</p>"),
    Row("google_meet", S.SIGN_IN, "sign-in-text", "<p>Your sign-in credentials might have changed</p>"),
    *(
        Row("google_meet", S.NOT_FOUND, "code-text", f"<h1>{text}</h1>")
        for text in (
            "Check your meeting code", "Invalid video call name", "Your meeting code has expired",
            "The meeting code you entered doesn’t work", "The meeting code you entered doesn't work",
        )
    ),
    # What a dialog says holds over the page beneath it.
    *(
        Row("google_meet", screen, rule, f"{beneath}{dialog(text)}")
        for screen, rule, text in (
            (S.BLOCKED, "cannot-join-dialog", "You can’t join this meeting"), (S.NOT_FOUND, "code-dialog", "Check your meeting code"),
            (S.SIGN_IN, "sign-in-dialog", "Your sign-in credentials might have changed"),
        )
        for beneath in ("<button>Ask to join</button>", "<h1>Asking to be let in</h1>")
    ),
    Row("google_meet", S.CAPTCHA, "captcha-frame", "<iframe src='https://www.google.com/recaptcha/api2/bframe' width=300 height=80></iframe>"),
    Row("google_meet", S.NAME_PROMPT, "join-button", "<iframe src='https://www.google.com/recaptcha/api2/bframe' width=300 height=80 style='visibility: hidden'></iframe><button>Join now</button>"),
    Row("google_meet", S.NAME_PROMPT, "join-button", "<iframe src='https://www.google.com/recaptcha/api2/bframe' width=100 height=30></iframe><button>Join now</button>"),
    Row("google_meet", S.FULL, "full-text", "<h1>This meeting is full</h1>"),
    *(Row("google_meet", S.REMOVED, "removed-dialog", dialog(f"You’ve been removed from the {what}") + MEET_BAR) for what in ("meeting", "call")),
    Row("google_meet", S.REMOVED, "removed-page", "<p>You were removed from the meeting</p><button>Return to home screen</button>"),
    Row("google_meet", S.REMOVED, "removed-heading", f"<h1>You’ve been <b>removed</b> from the meeting</h1>{MEET_BAR}"),
    Row("google_meet", S.ENDED, "ended-heading", f"<h2>Your host ended the meeting for everyone</h2>{MEET_BAR}"),
    Row("google_meet", S.REMOVED, "removed-dialog-sentence", "<div class=roSPhc>Removed from meeting</div>" + MEET_BAR),
    Row("google_meet", S.REMOVED, "removed-dialog-sentence", "<div role=dialog><p>Removed from the meeting.</p><p>Ask to join again?</p></div>" + MEET_BAR),
    Row("google_meet", S.ENDED, "ended-dialog-sentence", dialog("Meeting ended") + MEET_BAR),
    *(
        Row("google_meet", S.ENDED, "ended-dialog-sentence", f"<div {what}>{text}</div>{MEET_BAR}")
        for what, text in (
            ("role=dialog", "Meeting ended<button>OK</button>"), ("role=dialog", "Call <b>ended</b><br>Ann left"),
            ("role=dialog", "<p>The meeting has ended. You can close this tab.</p>"), ("role=dialog aria-label='Call ended'", "x"),
            ("class=end-screen", "Ann left! The call ended"), ("role=dialog", "<p>How was it?</p><p>Meeting\n ended</p>"),
        )
    ),
    *(
        Row("google_meet", S.IN_MEETING, "call-controls", f"{MEET_BAR}<div role=dialog>{text}</div>")
        for text in (
            "Call ended <b>for Ben</b>", "<span>Call ended</span> <span>for Ben</span>", "Show<button>Meeting ended</button>",
            "<p hidden>Meeting ended</p>", "Ben: Meeting ended", "The meeting ended, he said",
        )
    ),
    Row("google_meet", S.LEFT, "left-dialog", dialog("You’ve left the call") + MEET_BAR),
    Row("google_meet", S.ENDED, "ended-page", "<p>Your host ended the meeting for everyone</p><button>Return to home screen</button>"),
    *(Row("google_meet", S.ENDED, "ended-page", f"<p>{text}</p>") for text in ("Meeting ended", "Call ended", "The call ended")),
    Row("google_meet", S.LEFT, "left-page", "<p>You’ve left the call</p><button>Rejoin</button><button>Return to home screen</button>"),
    Row("google_meet", S.LEFT, "left-heading", f"<h1>You left the meeting</h1>{MEET_BAR}"),
    Row("google_meet", S.LEFT, "home-screen-button", "<button>Return to home screen</button>"),
    Row("google_meet", S.REDIRECTED, "landing-page", "<h1>Video calls for everyone</h1>", "https://meet.google.com/"),
    Row("google_meet", S.REDIRECTED, "other-host", "<h1>Products</h1>", "https://workspace.google.com/products/meet"),
    # What people say in the call is no screen.
    *(
        Row("google_meet", S.IN_MEETING, "call-controls", MEET_BAR + where)
        for where in (
            "<div data-message-id=1>You've been removed from the meeting. Meeting ended.</div>",
            "<aside aria-label='In-call messages'><p>Waiting for the host to join</p></aside>",
            "<div role=region aria-label=Captions>Asking to be let in</div>",
            "<div data-participant-id=1>You were denied</div>",
            "<div role=alert>Call ended</div>",
            "<div hidden role=dialog>You've been removed from the meeting</div>",
            "<div role=dialog style='opacity: 0'>You've been removed from the meeting</div>",
            "<div role=dialog><div role=log>You've been removed from the meeting</div></div>",
            "<div role=dialog><div role=listitem>You've been removed from the meeting</div></div>",
            "<div role=dialog aria-label=People>You've been removed from the meeting</div>",
            "<script>const text = 'Asking to be let in';</script>",
            *(
                f"<p>{text}</p><textarea aria-label='Send a message'></textarea>"
                for text in ("Asking to be let in", "Waiting for the host to join")
            ),
        )
    ),
    *(Row("google_meet", S.IN_MEETING, "call-controls", MEET_BAR + dialog(text)) for text in ABOUT_OTHERS),
    *(
        Row("google_meet", S.IN_MEETING, "call-controls-hidden", f"<div style='{hidden}'>{MEET_BAR}</div><p role=status>{text}</p>")
        for hidden in ("visibility: hidden", "opacity: 0")
        for text in (*ABOUT_OTHERS, "Ben: Meeting ended", "Sign in to join the chat")
    ),
    Row("google_meet", S.IN_MEETING, "call-tile", "<div data-participant-id=1>Ann</div><p role=status>Ben: You left the meeting</p>"),
    Row("google_meet", S.IN_MEETING, "call-controls", MEET_BAR + "<div role=dialog><h2>Leave?</h2><p hidden>Meeting ended</p></div>"),
    *(
        Row("google_meet", S.NAME_PROMPT, "join-button", f"<button>Ask to join</button>{where}")
        for where in (
            "<footer><a href=#>Someone in the call denied your request to join</a></footer>", "<div role=tooltip>This meeting is full</div>",
            "<details><summary>No one responded to your request to join the call?</summary>.</details>",
        )
    ),
    Row("google_meet", S.IN_MEETING, "call-controls", f"<footer>{MEET_BAR}</footer>"),
    # 2.2, 2.3 and 2.5, Zoom
    Row("zoom", S.NAME_PROMPT, "join-button", "<input id=input-for-name><button class=preview-join-button>Join</button>"),
    Row("zoom", S.NAME_PROMPT, "join-button", "<input id=inputname><button id=joinBtn disabled>Join</button>"),
    Row("zoom", S.NAME_PROMPT, "name-field", "<input placeholder='your name'>"),
    Row("zoom", S.NAME_PROMPT, "join-label", "<div class=meeting-app><button>Join</button></div>"),
    Row("zoom", S.LAUNCHER, "browser-link", "<a href='#'>Join from your browser</a>", "https://portal.example/j/123456789"),
    *(
        Row("zoom", S.LOADING, rule, f"<div id=video-share-layout><video-player>.</video-player></div><p>{text}</p>")
        for text, rule in (
            ("Joining Meeting…", "joining-text"), ("Preparing the meeting", "joining-text"),
            ("Connecting…", "connecting-text"), ("Loading...", "connecting-text"),
        )
    ),
    Row("zoom", S.LOADING, "joining-text", "<p>Joining Meeting...</p>" + ZOOM_BAR),
    Row("zoom", S.WAITING_FOR_HOST, "waiting-for-host-text", "<h1>Waiting for the host to start this meeting</h1>"),
    Row("zoom", S.WAITING_FOR_HOST, "waiting-for-host-text", "<h1>Waiting for the host to start the meeting.</h1>"),
    Row("zoom", S.WAITING_FOR_HOST, "invalid-3001", "<title>Error - Zoom</title><p>This meeting link is invalid (3,001)</p>"),
    Row("zoom", S.WAITING_FOR_HOST, "error-title", "<title>Error - Zoom</title><p>Something</p>"),
    Row("zoom", S.NOT_FOUND, "not-found-text", "<p>This meeting link is invalid</p>"),
    *(
        Row("zoom", S.WAITING_ROOM, "waiting-room-text", f"<div class=meeting-app><p>{text}</p>{ZOOM_BAR}</div>")
        for text in (
            "Please wait, the meeting host will let you in soon.", "Someone will let you in", "You are in the waiting room",
            "Host has joined. We’ve let them know you’re here", "You will be admitted shortly",
        )
    ),
    Row("zoom", S.IN_MEETING, "leave-button", ZOOM_BAR),
    *(
        Row("zoom", S.IN_MEETING, "footer-hidden", f"<div>{html}</div>")
        for html in (
            "<div class=single-main-container__video-frame>.</div>", "<div class=single-suspension-container__video-frame>.</div>",
            "<div id=video-share-layout><video-player></video-player></div>",
        )
    ),
    *(
        Row("zoom", S.IN_MEETING, "leave-button-hidden", html + notice)
        for html in ("<footer style='visibility: hidden'><button aria-label=Leave>x</button></footer>", "<button aria-label='Mute my microphone'>x</button>")
        for notice in ("", "<p role=alert>The meeting has ended for Ann</p>", "<p>You have been removed from the stage</p>")
    ),
    Row("zoom", S.IN_MEETING, "leave-label", "<button>Unmute</button><button>3 Participants</button><button>Leave</button>"),
    Row("zoom", S.UNKNOWN, "", "<p>Soon</p><button>Unmute</button><button>Leave</button>"),
    *(Row("zoom", S.CONNECTION_LOST, "reconnecting-text", f"<p>{text}</p>") for text in ("Reconnecting…", "Connection was lost. Trying to reconnect.")),
    Row("zoom", S.IN_MEETING, "footer-hidden", "<div class=single-main-container__video-frame>Reconnecting…</div>"),
    Row("zoom", S.REDIRECTED, "home-page", "<h1>One platform</h1>", "https://zoom.us/"),
    Row("zoom", S.IN_MEETING, "footer-count", "<div id=wc-footer>3 participants</div>"),
    *(
        Row("zoom", S.SIGN_IN, "sign-in-text", f"<p>{text}</p>")
        for text in (
            "Sign in to join", "Please sign in to join this meeting.", "Only authenticated users can join",
            "This meeting requires authentication", "The host requires authentication on the commercial Zoom platform",
        )
    ),
    Row("zoom", S.SIGN_IN, "sign-in-page", "<h1>Sign in</h1>", "https://us02web.zoom.us/signin?from=x"),
    *(
        Row("zoom", S.BLOCKED, "bot-wall", f"<p>{text}</p><input id=input-for-name><button id=joinBtn disabled>Join</button>")
        for text in (
            "Automated bots aren’t allowed to join this meeting", "They must use Zoom RTMS", "We detected you may be a bot",
        )
    ),
    Row("zoom", S.REFUSED, "timeout-text", "<div class=zm-modal>Joining Meeting Timeout or Browser restriction<button>Leave</button></div>"),
    Row("zoom", S.REFUSED, "timeout-text", "<p>Your network connection has timed out or your organization has disabled access to Zoom from the browser</p>"),
    Row("zoom", S.PASSCODE_PROMPT, "passcode-field", "<input id=input-for-name><input type=password placeholder='Meeting Passcode'><button class=preview-join-button>Join</button>"),
    Row("zoom", S.NAME_PROMPT, "join-button", "<input placeholder=Passcode value=1><button class=preview-join-button>Join</button>"),
    Row("zoom", S.NAME_PROMPT, "passcode-given", "<input placeholder=Passcode value=1><button>Submit</button>"),
    *(
        Row("zoom", S.PASSCODE_WRONG, "passcode-wrong-text", f"<input type=password value=1><p>{text}</p>")
        for text in ("Passcode wrong. Try again.", "Incorrect passcode", "Invalid password", "The passcode is incorrect")
    ),
    Row("zoom", S.PASSCODE_WRONG, "passcode-marked", "<input type=password aria-invalid=true value=1>"),
    Row("zoom", S.PASSCODE_PROMPT, "password-field", "<input type=password aria-invalid=true>"),
    Row("zoom", S.SIGN_IN, "login-form", "<input name=username><input type=password><button>Log in</button>"),
    Row("zoom", S.REDIRECTED, "other-host", "<input type=password><button>Log in</button>", url="https://sso.example/"),
    Row("zoom", S.CAPTCHA, "captcha-text", "<h1>Check Captcha</h1>"),
    Row("zoom", S.REGISTRATION, "registration-page", "<h1>Webinar</h1>", "https://us02web.zoom.us/webinar/register/WN_x"),
    Row("zoom", S.UNKNOWN, "", "<h1>Hm</h1>", "https://us02web.zoom.us/j/1?to=/webinar/register/"),
    Row("zoom", S.FULL, "full-text", "<p>The meeting is full</p>"),
    Row("zoom", S.LOCKED, "locked-text", "<p>This meeting is locked by the host</p>"),
    Row("zoom", S.LAUNCHER, "launch-button", "<button>Launch Meeting</button>"),
    Row("zoom", S.LAUNCHER, "browser-link", "<button>Launch Meeting</button><a href=#>Join from your browser</a>"),
    Row("zoom", S.REMOVED, "removed-dialog", f"<div class=zm-modal><p>You have been removed</p></div>{ZOOM_BAR}"),
    Row("zoom", S.ENDED, "ended-dialog", f"<div class=zm-modal-body-title>This meeting has been ended by host</div>{ZOOM_BAR}"),
    *(Row("zoom", S.ENDED, "ended-dialog", f"<div class='zm-modal x'>{text}</div>{ZOOM_BAR}") for text in ("The meeting has ended", "host ended the meeting")),
    Row("zoom", S.ENDED, "ended-label", "<div aria-label='Meeting is end now'><button>OK</button></div>"),
    Row("zoom", S.ENDED, "ended-dialog", "<div class=my-end-screen>Meeting has ended</div>"),
    Row("zoom", S.RECORDING_DENIED, "recording-denied-dialog", f"<div class=zm-modal>The host does not allow recording</div>{ZOOM_BAR}"),
    Row("zoom", S.DENIED, "denied-text", "<p>The host has removed you from the waiting room</p>"),
    Row("zoom", S.REDIRECTED, "other-host", "<h1>Shop</h1>", "https://shop.example/"),
    Row("zoom", S.IN_MEETING, "leave-button", "<h1>.</h1>" + ZOOM_BAR, "https://portal.example/wc/1/join"),
    *(
        Row("zoom", S.IN_MEETING, "leave-button", ZOOM_BAR + dialog(text))
        for text in (
            "The host has ended breakout rooms", "The poll was ended by host", "Your message was removed by the host",
            "You have been removed from the spotlight", "You were removed from breakout room 2",
            "The host removed you from the spotlight", "Your other meeting has ended", "Ann has been removed from the meeting",
            "Waiting for the host to start the recording", "The host has another meeting in progress",
        )
    ),
    *(
        Row("zoom", S.NAME_PROMPT, "join-button", f"<button id=joinBtn>Join</button><div style='{style}'><p class=zm-modal>You have been removed. Waiting room</p></div>")
        for style in (
            "position: absolute; left: -9999px", "position: fixed; top: -2000px", "max-height: 0; overflow: hidden",
            "position: absolute; width: 1px; height: 1px; overflow: hidden; clip: rect(0, 0, 0, 0)",
        )
    ),
    Row("zoom", S.REMOVED, "removed-dialog", "<div style='height: 0; overflow: hidden'><div class=zm-modal style='position: fixed'>You have been removed</div></div>"),
    *(
        Row("zoom", S.IN_MEETING, "leave-button", ZOOM_BAR + where)
        for where in (
            "<div id=chat-message-1>You have been removed. The meeting has ended. waiting room</div>",
            "<div class=zm-modal>This meeting is being recorded</div>", "<div id=live-transcription-subtitle>Loading...</div>",
            "<div class=video-avatar__avatar-footer><span>Connecting…</span></div>", "<p>The meeting has ended</p>",
        )
    ),
    # 3.2, 3.3 and 3.5, Teams
    Row("teams", S.LAUNCHER, "browser-button", "<button data-tid=joinOnWeb>Web</button>"),
    *(Row("teams", S.LAUNCHER, "browser-label", f"<button>{text}</button>") for text in ("Continue on this browser", "Join on this browser")),
    Row("teams", S.LAUNCHER, "browser-label", "<button aria-label='Join meeting from this browser'>.</button>"),
    Row("teams", S.NAME_PROMPT, "join-button", "<input placeholder='Type your name'><button data-tid=prejoin-join-button>Join now</button>"),
    Row("teams", S.NAME_PROMPT, "join-button", "<button>Join now</button><p>Someone will let you in shortly</p>"),
    Row("teams", S.NAME_PROMPT, "name-field", "<input data-tid=prejoin-display-name-input>"),
    Row("teams", S.NAME_PROMPT, "name-field", "<input placeholder='Enter your name'><button disabled>Join now</button>"),
    Row("teams", S.NAME_PROMPT, "join-button-off", "<button disabled aria-label='Join now'>.</button>"),
    *(
        Row("teams", S.WAITING_ROOM, "lobby-text", f"<h1>{text}</h1><button id=hangup-button>Leave</button>")
        for text in (
            "Someone will let you in shortly", "Someone will let you in soon", "You’re in the lobby",
            "Waiting for someone to let you in", "Your request to join has been sent",
        )
    ),
    Row("teams", S.WAITING_ROOM, "lobby-words", "<h1>Waiting to be admitted</h1><button id=hangup-button>Leave</button>"),
    Row("teams", S.WAITING_FOR_HOST, "lobby-before-start-words", "<p>We'll go on when the meeting starts</p>"),
    *(
        row
        for text in ("You’re in the lobby", "Your request to join has been sent", "Waiting to be admitted…", "Waiting for someone to let you in")
        for row in (
            Row("teams", S.WAITING_ROOM, "lobby-asked", f"<p>{text}</p><button data-tid=prejoin-join-button>Join now</button>"),
            Row("teams", S.NAME_PROMPT, "join-button", f"<p>{text}</p><input placeholder='Type your name'><button data-tid=prejoin-join-button>Join now</button>"),
        )
    ),
    Row("teams", S.WAITING_ROOM, "lobby-text", "<p>Someone will let you in shortly</p><button disabled>Join now</button>"),
    Row("teams", S.WAITING_FOR_HOST, "lobby-before-start-text", "<h1>Someone will let you in when the meeting starts</h1>"),
    Row("teams", S.IN_MEETING, "call-controls", TEAMS_BAR),
    *(
        Row("teams", S.IN_MEETING, "hangup-button", html)
        for html in (
            "<button id=hangup-button>x</button>", "<button data-tid=hangup-main-btn>x</button>", "<button data-inp=hangup-button>x</button>",
            "<button id=my-hangup-1>x</button>", "<button id=callingButtons-showMoreBtn>x</button>", "<button data-tid=roster-button>x</button>",
            "<button aria-label='Leave (Ctrl+Shift+H)' style='visibility: hidden'>x</button>",
        )
    ),
    Row("teams", S.DENIED, "denied-text", "<p>Sorry, but you were denied access to the meeting</p><button data-tid=calling-retry-cancelbutton>Cancel</button>"),
    Row("teams", S.DENIED, "denied-text", "<p>Your request to join was declined</p>"),
    Row("teams", S.DENIED, "retry-button", "<button data-tid=calling-retry-cancelbutton>Cancel</button>"),
    Row("teams", S.REFUSED, "cannot-connect-text", "<h1>Sorry, we couldn’t connect you</h1><button data-tid=calling-retry-cancelbutton>Cancel</button>"),
    *(
        Row("teams", S.SIGN_IN, "sign-in-text", f"<p>{text}</p>")
        for text in (
            "We need to verify your info before you can join", "To join, sign in or use Teams on the web",
            "You need to be signed in to Teams",
        )
    ),
    *(
        Row("teams", S.SIGN_IN, "sign-in-page", "<h1>Sign in</h1>", f"https://{host}/common/oauth2/authorize?x=y")
        for host in (
            "login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.microsoft.com",
            "login.live.com", "login.windows.net",
        )
    ),
    Row("teams", S.SIGN_IN, "sign-in-field", "<input name=loginfmt>"),
    Row("teams", S.ORG_ONLY, "org-text", "<p>External participants are not permitted to join before the event begins</p>"),
    Row("teams", S.ORG_ONLY, "org-text", "<p>Because of your organization’s policies you can't join</p>"),
    Row("teams", S.NOT_FOUND, "link-text", "<p>Looks like the meeting URL is incorrect</p>"),
    *(
        Row("teams", screen, rule, f"<button>Join now</button>{dialog(text)}")
        for screen, rule, text in (
            (S.SIGN_IN, "sign-in-dialog", "We need to verify your info before you can join"),
            (S.NOT_FOUND, "link-dialog", "Looks like the meeting URL is incorrect"),
        )
    ),
    Row("teams", S.CAPTCHA, "captcha-text", "<h1>Verify you’re a real person</h1>"),
    Row("teams", S.FULL, "full-text", "<p>Sorry, this meeting is full</p>"),
    Row("teams", S.LOCKED, "locked-text", "<p>This meeting is locked</p>"),
    Row("teams", S.PASSCODE_PROMPT, "passcode-field", "<input placeholder='Type a meeting passcode'><button>Join now</button>"),
    Row("teams", S.PASSCODE_WRONG, "passcode-wrong-text", "<p>Incorrect passcode</p>"),
    Row("teams", S.REMOVED, "removed-dialog", dialog("You've been removed from this meeting") + TEAMS_BAR),
    Row("teams", S.REMOVED, "removed-page", "<p>You’ve been removed from this meeting</p>"),
    Row("teams", S.ENDED, "ended-page", "<p>Meeting ended</p>"),
    Row("teams", S.ENDED, "ended-page", "<p>Call ended</p>"),
    Row("teams", S.ENDED, "ended-dialog-sentence", dialog("Call ended") + TEAMS_BAR),
    Row("teams", S.ENDED, "ended-dialog-sentence", f"<div role=dialog>The organizer ended the meeting<button>OK</button></div>{TEAMS_BAR}"),
    Row("teams", S.REMOVED, "removed-dialog-sentence", f"<div class=call-ended>You have been removed by the organizer.</div>{TEAMS_BAR}"),
    Row("teams", S.ENDED, "ended-dialog", dialog("Ann ended the meeting for everyone") + TEAMS_BAR),
    *(Row("teams", S.IN_MEETING, "call-controls", TEAMS_BAR + dialog(text)) for text in ABOUT_OTHERS),
    *(
        Row("teams", S.IN_MEETING, "hangup-button", f"<div style='{hidden}'>{TEAMS_BAR}</div><p role=status>{text}</p>")
        for hidden in ("visibility: hidden", "opacity: 0")
        for text in (*ABOUT_OTHERS, "Ben: Meeting ended", "Sign in to join the chat")
    ),
    Row("teams", S.NAME_PROMPT, "join-button", "<button>Join now</button><footer><a href=#>We couldn't connect you</a></footer>"),
    *(Row("teams", S.REDIRECTED, "other-host", "<h1>News</h1>", f"https://www.{host}/") for host in ("example.com", "microsoft.com")),
    Row("teams", S.REMOVED, "removed-heading", f"<h1>You’ve been removed from this meeting</h1>{TEAMS_BAR}"),
    Row("teams", S.ENDED, "ended-heading", f"<h2>Call ended</h2>{TEAMS_BAR}"),
    Row("teams", S.IN_MEETING, "call-controls", TEAMS_BAR + "<div role=dialog><i role=treeitem>You've been removed from this meeting</i></div>"),
    Row("teams", S.UNKNOWN, "", "<h1>Hm</h1>", "https://teams.sovcloud.fr/v2/"),
    *(
        Row("teams", S.IN_MEETING, "call-controls", TEAMS_BAR + where)
        for where in (
            "<div data-tid=chat-pane-message>You've been removed from this meeting</div>", "<div role=alert>Call ended</div>",
            "<div data-tid=closed-caption-renderer-wrapper>You're in the lobby</div>", "<p>Meeting ended</p>",
            *(
                f"<p>{text}</p><div contenteditable=true aria-label='Type a message'>.</div>"
                for text in ("You're in the lobby", "I was there when the meeting starts")
            ),
        )
    ),
    # 4.2 and 4.3, Jitsi
    Row("jitsi", S.REFUSED, "problem-text", app() + "<div class=overlay>Unfortunately, something went wrong.<button>Rejoin now</button></div>"),
    Row("jitsi", S.NAME_PROMPT, "join-button", app() + "<input id=premeeting-name-input><div data-testid='prejoin.joinMeeting' role=button>Join</div>"),
    Row("jitsi", S.NAME_PROMPT, "join-button", "<div class=lobby-screen><button data-testid='lobby.knockButton'>Ask to join</button></div>"),
    Row("jitsi", S.NAME_PROMPT, "join-button", "<button aria-label='Join meeting'>.</button>"),
    Row("jitsi", S.NAME_PROMPT, "name-field", "<div class=prejoin-input-area><input></div>"),
    *(Row("jitsi", S.LAUNCHER, "guest-entry", f"<button>{text}</button>") for text in ("Continue as guest", "Join as guest", "Continue without an account")),
    Row("jitsi", S.PASSCODE_PROMPT, "passcode-field", dialog("Password") + "<input name=lockKey>"),
    Row("jitsi", S.PASSCODE_PROMPT, "password-field", dialog("Password") + "<input type=password>"),
    Row("jitsi", S.SIGN_IN, "login-form", "<input name=username><input type=password><button>Log in</button>"),
    Row("jitsi", S.LAUNCHER, "guest-entry", "<input type=email><input type=password><button>Join as guest</button>"),
    Row("jitsi", S.REDIRECTED, "elsewhere", "<input type=password><button>Log in</button>", url="https://sso.example/"),
    Row("jitsi", S.BLANK, "", "<div id=react></div>", url="https://meet.jit.si/Room"),
    Row("jitsi", S.CONNECTION_LOST, "app-parted", app() + HANGUP + "<h1>Disconnected</h1><a role=button>Rejoin</a>"),
    Row("jitsi", S.CONNECTION_LOST, "disconnected-text", "<h1>You have been disconnected</h1><button>Rejoin</button>"),
    Row("jitsi", S.IN_MEETING, "hangup-button", HANGUP + "<p class=notification>Bob was kicked out of the meeting</p>"),
    Row("jitsi", S.IN_MEETING, "hangup-button", HANGUP + "<p>Bob has been kicked out of the meeting by Ann</p>"),
    Row("jitsi", S.IN_MEETING, "app-joined", app(joined=True) + "<p class=notification>You have been kicked: hello</p>"),
    Row("jitsi", S.REMOVED, "kicked-notice", app() + HANGUP + "<p class=notification>You have been kicked</p>"),
    Row("jitsi", S.ENDED, "terminated-notice", "<p class=notification>The meeting has ended</p>"),
    Row("jitsi", S.PASSCODE_WRONG, "passcode-wrong-text", "<p>Incorrect password</p><input name=lockKey>"),
    Row("jitsi", S.IN_MEETING, "app-joined", app(joined=True) + "<h1>You have been disconnected. Asking to join</h1>"),
    Row("jitsi", S.IN_MEETING, "app-joined", app(room="{ isJoined: () => true }")),
    Row("jitsi", S.IN_MEETING, "hangup-button", HANGUP),
    Row("jitsi", S.IN_MEETING, "app-joined", app(joined=True) + dialog("You have been kicked out of the breakout room")),
    Row("jitsi", S.IN_MEETING, "app-joined", app(joined=True) + dialog("Ann ended the meeting recording")),
    Row("jitsi", S.NAME_PROMPT, "join-button", app(joined=True) + "<button aria-label='Join meeting'>.</button>"),
    *(
        Row("jitsi", S.NAME_PROMPT, "join-button", f"<button aria-label='Join meeting'>.</button><footer>{text}</footer>")
        for text in ("What if I was kicked out of the meeting?", "Why a meeting has been terminated")
    ),
    Row("jitsi", S.NAME_PROMPT, "join-label", "<button>Join meeting</button><footer>What if I was kicked out of the meeting?</footer>"),
    Row("jitsi", S.BLANK, "", "<script>globalThis.APP = { conference: { isJoined: async () => false } };</script>"),
    Row("jitsi", S.IN_MEETING, "hangup-button", HANGUP + "<script>globalThis.APP = { conference: { isJoined: async () => false } };</script>"),
    Row("jitsi", S.IN_MEETING, "app-joined", "<script>globalThis.APP = { conference: { isJoined: () => true, get _room() { throw 1; } } };</script>"),
    *(Row("jitsi", S.IN_MEETING, "hangup-button", f"{HANGUP}<p>{text}</p>") for text in ("The meeting is full", "The meeting is locked", "Incorrect password")),
    Row("jitsi", S.PASSCODE_PROMPT, "passcode-given", dialog("Password") + "<input type=password value=1>"),
    Row("jitsi", S.REDIRECTED, "home-page", "<div id=react>Welcome</div>", url="https://meet.jit.si/"),
    Row("jitsi", S.REDIRECTED, "home-page", "<div id=react>Bye</div>", url="https://meet.jit.si/static/close3.html"),
    Row("jitsi", S.IN_MEETING, "hangup-button", "<button data-testid='toolbox.hangup'>x</button>"),
    Row("jitsi", S.IN_MEETING, "hangup-button", "<button aria-label='Hang up now'>x</button>"),
    Row("jitsi", S.IN_MEETING, "toolbox-hidden", f"<div style='visibility: hidden'>{HANGUP}</div>"),
    Row("jitsi", S.WAITING_ROOM, "app-knocking", app(state="{ 'features/lobby': { knocking: true } }") + HANGUP),
    Row("jitsi", S.WAITING_ROOM, "lobby-screen", "<div class=lobby-screen>.</div>"),
    Row("jitsi", S.WAITING_ROOM, "lobby-message", "<p data-testid='lobby.joiningMessage'>Soon</p>" + HANGUP),
    Row("jitsi", S.WAITING_ROOM, "lobby-text", "<p>Asking to join…</p>" + HANGUP),
    *(
        Row("jitsi", S.WAITING_FOR_HOST, "host-text", f"<p>{text}</p>" + HANGUP)
        for text in ("Waiting for the host…", "Waiting for a moderator", "The conference has not yet started")
    ),
    Row("jitsi", S.WAITING_FOR_HOST, "app-members-only", app(state="{ 'features/base/conference': { membersOnly: {} } }") + HANGUP),
    *(
        Row("jitsi", S.DENIED, "rejected-text", f"<p>{text}</p>")
        for text in ("Your request to join has been declined.", "Your request to join has been rejected", "It was declined by a moderator")
    ),
    *(Row("jitsi", S.REMOVED, "kicked-page", f"<p>{text}</p>") for text in ("You have been kicked", "You were kicked out of the meeting")),
    Row("jitsi", S.REMOVED, "kicked-dialog", app(joined=True) + dialog("You have been kicked")),
    Row("jitsi", S.REMOVED, "kicked-dialog", dialog("Ouch! Ann kicked you out of the meeting") + "<button>Rejoin</button>"),
    Row("jitsi", S.REMOVED, "kicked-page", app() + "<h2>Ann kicked you out of the call</h2><button>Rejoin now</button>"),
    *(Row("jitsi", S.ENDED, "terminated-page", f"<p>{text}</p>") for text in ("The meeting has been terminated", "The conference has ended")),
    Row("jitsi", S.LEFT, "thanks-page", "<h1>Thank you for using Jitsi</h1><button>Rejoin</button>"),
    Row("jitsi", S.LEFT, "rejoin-button", "<button>Rejoin</button>"),
    Row("jitsi", S.IN_MEETING, "app-joined", app(joined=True) + "<div id=chatconversation>You have been kicked</div>"),
    Row("jitsi", S.IN_MEETING, "hangup-button", HANGUP + "<script>globalThis.APP = { get conference() { throw 1; } };</script>"),
]  # fmt: skip


async def look(page: Page, platform: str) -> Seen:
    adapter = adapter_for(platform)
    assert adapter
    seen = await adapter.observe(page, PATIENCE_S, NOTHING)
    assert isinstance(seen, Seen)
    return seen


# One page after the other, and a look at each: through the driver each would take five times as long.
LOOK_AT_ALL: Final = f"""({{ pages, rules, request }}) => {{
  const write = {WRITE};
  const look = SCRIPT;
  return pages.map((html) => {{
    write("<!doctype html>" + html);
    return look({{ rules, request }});
  }});
}}"""


async def look_at_all(page: Page, platform: str, pages: list[str]) -> list[tuple[Screen, str]]:
    """The screen and the rule of each page, under the address of the one that shows."""
    adapter = adapter_for(platform)
    assert adapter
    argument = {"pages": pages, "rules": adapter.rules.argument, "request": msgspec.to_builtins(NOTHING)}
    answers = await page.evaluate(LOOK_AT_ALL.replace("SCRIPT", adapter.rules.script), argument)
    seen = msgspec.convert(answers, list[Seen])
    assert len(seen) == len(pages)
    return [(each.screen, each.rule) for each in seen]


ELSEWHERE: Final = sorted((row for row in ROWS if row.url), key=lambda row: URL(row.url).origin())
# The same page under a further address, for the same rule.
AGAIN: Final = [
    row for place, row in enumerate(ELSEWHERE) if any(row[:4] == earlier[:4] for earlier in ELSEWHERE[:place])
]


@pytest.mark.parametrize("platform", MEET_FIRST)
async def test_a_page_is_recognised_and_by_which_rule(page: Page, show: Show, platform: str) -> None:
    here = [row for row in ROWS if row.platform == platform and not row.url]
    await show(ADDRESS[platform], "")
    told = dict(zip(here, await look_at_all(page, platform, [row.html for row in here]), strict=True))
    elsewhere = [row for row in ELSEWHERE if row.platform == platform and row not in AGAIN]
    told |= await look_elsewhere(page, show, elsewhere)
    assert set(told) == {*here, *elsewhere}
    assert {row: seen for row, seen in told.items() if seen != (row.screen, row.rule)} == {}


@pytest.mark.long
async def test_a_page_is_recognised_under_each_address_of_a_rule(page: Page, show: Show) -> None:
    told = await look_elsewhere(page, show, AGAIN)
    assert {row: seen for row, seen in told.items() if seen != (row.screen, row.rule)} == {}


async def look_elsewhere(page: Page, show: Show, rows: list[Row]) -> dict[Row, tuple[Screen, str]]:
    """The screen and the rule of each page under its own address. To another of the same origin nothing is loaded."""
    told: dict[Row, tuple[Screen, str]] = {}
    for row in rows:
        if row.url.startswith(await page.evaluate("origin")):
            await page.evaluate("(url) => history.replaceState(null, '', url)", row.url)
            await rewrite(page, row.html)
        else:
            await show(row.url, row.html)
        seen = await look(page, row.platform)
        told[row] = seen.screen, seen.rule
    return told


SAYS: Final = "You've been removed from the meeting"
NOTE: Final = "<p class=n>Ann writes</p>"
# What is behind such words, of a bot that was let in. The wording and the classes are none that a rule names.
BEHIND: Final = {
    f"<div role=dialog>{SAYS}<button>OK</button></div>": "under",
    f"<div class=roSPhc><h1>{SAYS}</h1></div>": "under",
    f"<h1>{SAYS}</h1>": "under",
    f"<h2><b>{SAYS}</b></h2>{NOTE}": "under",
    f"<div class=k><h3 role=heading>{SAYS}</h3></div>": "free",
    f"<ul><li><h2>{SAYS}</h2></ul>": "free",
    f"<div aria-live=polite><div role=dialog>Ann: {SAYS}</div></div>": "free",
    f"<div class='app-Toast-3' role=dialog>{SAYS}</div>": "free",
    f"<div role=dialog>{SAYS}<div contenteditable=true>Answer</div></div>": "free",
    f"<div style='position: fixed; inset: 0; background: #fff'><h3 role=heading>{SAYS}</h3></div>": "under",
    f"<div style='position: fixed; inset: 0'><h3 role=heading>{SAYS}</h3><textarea></textarea></div>": "free",
    f"<div style='position: fixed; top: 0; height: 90px; width: 100%'><h3 role=heading>{SAYS}</h3></div>": "free",
    f"<div style='position: fixed; inset: 0'></div><h3 role=heading>{SAYS}</h3>": "free",
}


@pytest.mark.long
async def test_of_words_of_an_end_it_is_told_whether_the_call_is_still_there(page: Page, show: Show) -> None:
    meet = adapter_for("google_meet")
    assert meet
    inside = LookRequest(inside=True)
    await show(MEET, "")
    for html, behind in BEHIND.items():
        await rewrite(page, html + MEET_BAR)
        seen = await meet.observe(page, PATIENCE_S, inside)
        assert isinstance(seen, Seen)
        assert (seen.screen, seen.behind) == (Screen.REMOVED, behind), html
        await rewrite(page, html)
        seen = await meet.observe(page, PATIENCE_S, inside)
        assert isinstance(seen, Seen)
        assert seen.behind == "", html


@pytest.mark.parametrize("platform", MEET_FIRST)
async def test_a_page_that_offers_the_way_back_is_not_in_the_call(page: Page, show: Show, platform: str) -> None:
    adapter = adapter_for(platform)
    assert adapter
    await show(ADDRESS[platform], "")
    for html, over in (
        ("<p>So long</p><a role=button>Join again</a>", True),
        ("<h1>So long</h1><button><i></i>Rejoin now</button>", True),
        ("<h1>So long</h1><p>Rejoin now</p>", False),
        ("<h1>One moment</h1>", False),
    ):
        await rewrite(page, html)
        seen = await adapter.observe(page, PATIENCE_S, LookRequest(inside=True))
        assert isinstance(seen, Seen)
        assert (seen.screen, seen.over) == (Screen.UNKNOWN, over), html
        assert not (await look(page, platform)).over


async def test_a_program_that_is_in_no_call_says_so_of_the_document_that_had_one(page: Page, show: Show) -> None:
    jitsi = adapter_for("jitsi")
    assert jitsi
    await show(JITSI, app(joined=True))
    document = (await look(page, "jitsi")).document
    await rewrite(page, app() + "<h1>Hm</h1>")
    for request, over in (
        (LookRequest(inside=True, document=document), True),
        (LookRequest(inside=True, document=1), False),
    ):
        seen = await jitsi.observe(page, PATIENCE_S, request)
        assert isinstance(seen, Seen)
        assert (seen.screen, seen.over) == (Screen.UNKNOWN, over)


@pytest.mark.parametrize("platform", MEET_FIRST)
async def test_a_page_that_takes_the_bot_to_another_room_says_so_or_is_elsewhere(
    page: Page, show: Show, platform: str
) -> None:
    adapter = adapter_for(platform)
    assert adapter
    await show(ADDRESS[platform], "")
    here = (await look(page, platform)).place
    for html, place, screen in (
        ("<p>One moment</p>", here, Screen.UNKNOWN),
        ("<p>One moment</p>", "", Screen.UNKNOWN),
        ("<p>One moment</p>", "another", Screen.BREAKOUT),
        ("<div></div>", "another", Screen.BREAKOUT),
        ("<p>Joining Breakout Room 7 as Bot</p>", here, Screen.BREAKOUT),
        ("<p>Taking you back to the main session</p>", here, Screen.BREAKOUT),
    ):
        await rewrite(page, html)
        seen = await adapter.observe(page, PATIENCE_S, LookRequest(inside=True, place=place))
        assert isinstance(seen, Seen)
        assert seen.screen is screen, html
        assert (await look(page, platform)).screen is not Screen.BREAKOUT
