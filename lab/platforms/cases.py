"""Every outcome of a bot on the pages: `CASES` says for each scenario which screen the bot must recognise and with
which reason it must end.
"""

import hashlib
from typing import Final, NamedTuple

import msgspec

from common.wire.messages import AutomaticLeave, BotNames
from common.wire.vocabulary import Reason
from lab.platforms.hosts import PLATFORMS, link_to
from lab.platforms.scenario import Act, Layout, Moment, Scenario, Turn
from lab.platforms.screens import SCREENS

SILENT_S: Final = 2  # the deadlines of `automatic_leave` in cases that try them, in seconds
BOT_NAME: Final = "Notetaker"


class Case(NamedTuple):
    """`screen`: what the bot must have recognised. `asked_at`: when the user asks it to leave. `crashes`: its page is
    made to crash in the meeting. `clicks_leave`: the page's own button has to be used. `is_quick`: it is tried in every
    run of all tests. `takes_s`: how long it takes because of deadlines that no setting shortens. `most_s`: how long it
    may take in all; 0: without limit. `most_late_s`: how soon after a button begins to react it has to be clicked on.
    `tells`: the bot has to report how many are there, who speaks and what is said. `announces`: it is told, twice, that
    it is recorded, and has to write that in the chat once, before it is asked to leave.
    """

    platform: str
    name: str
    scenario: Scenario
    reason: Reason
    screen: str = "in_meeting"
    automatic_leave: AutomaticLeave = AutomaticLeave()
    passcode: str = ""
    asked_at: Moment | None = None
    crashes: bool = False
    clicks_leave: bool = False
    is_quick: bool = False
    takes_s: float = 0.0
    most_s: float = 0.0
    most_late_s: float = 0.0
    tells: bool = False
    announces: bool = False

    @property
    def code(self) -> str:
        """The meeting's passcode, the same in every run."""
        digest = hashlib.sha256(f"{self.platform}/{self.name}".encode()).digest()
        match self.platform:
            case "google_meet":
                letters = "".join(chr(97 + byte % 26) for byte in digest[:10])
                return f"{letters[:3]}-{letters[3:7]}-{letters[7:]}"
            case "zoom":
                return str(10**10 - 1 - int.from_bytes(digest[:4]))
            case "teams" if digest[0] % 2 or self.scenario.needs_server:
                return str(4 * 10**12 + int.from_bytes(digest[:4]))
            case _:
                return self.name.title().replace("-", "").replace("_", "")

    @property
    def link(self) -> str:
        """The link, as in an invitation, without the passcode."""
        return link_to(self.platform, self.code)

    def __str__(self) -> str:
        return f"{self.platform}-{self.name}"


_CALL: Final = Scenario(entry="lobby", acts=(Act("lobby", "admit", 600), Act("meeting", "end", 1500)))
_QUICK: Final = (("google_meet", "denied", 0), ("jitsi", "removed", 0))
_LAYOUTS: Final[dict[str, tuple[Layout, ...]]] = {
    "google_meet": ("shadow", "renamed", "moved", "curly"),
    "zoom": ("frame", "shadow", "renamed", "moved", "curly"),
    "teams": ("frame", "shadow", "renamed", "moved", "curly"),
    "jitsi": ("moved", "curly"),
}
_POPUPS: Final[dict[str, tuple[tuple[Moment, str], ...]]] = {
    "google_meet": (
        ("prejoin", "got_it"),
        ("prejoin", "dismiss"),
        ("prejoin", "no_account"),
        ("prejoin", "no_devices"),
        ("join", "second_join"),
        ("meeting", "recording"),
        ("meeting", "missing_device"),
        ("meeting", "overlay"),
    ),
    "zoom": (
        ("prejoin", "cookies"),
        ("prejoin", "terms"),
        ("prejoin", "disclaimer"),
        ("prejoin", "permission"),
        ("prejoin", "no_camera"),
        ("meeting", "recording"),
        ("meeting", "companion"),
        ("meeting", "tip"),
        ("meeting", "join_audio"),
    ),
    "teams": (("prejoin", "no_audio"), ("join", "no_audio"), ("prejoin", "allow_devices"), ("meeting", "got_it")),
    "jitsi": (("meeting", "no_devices"),),
}


def _ends_by_screens() -> list[Case]:
    """Each wording of each screen that ends a bot, at its moment."""
    cases: list[Case] = []
    for shown in SCREENS:
        if not shown.reason:
            continue
        where = "lobby" if shown.at == "lobby" else "meeting"
        for wording in range(len(shown.evidence)):
            scenario = Scenario(
                entry="lobby" if where == "lobby" else "open",
                wording=wording,
                turns=() if shown.act else (Turn(shown.at, shown.screen, _after_ms(shown.at)),),
                acts=(Act(where, shown.act, _after_ms(shown.at)),) if shown.act else (),
            )
            cases.append(
                Case(
                    shown.platform,
                    f"{shown.screen}-{wording}",
                    scenario,
                    shown.reason,
                    shown.seen_as,
                    AutomaticLeave(recording_permission_denied_timeout=SILENT_S),
                    is_quick=(shown.platform, shown.screen, wording) in _QUICK,
                    takes_s=30.0 if shown.reason is Reason.CAPTCHA else 0.0,
                )
            )
    return cases


def _after_ms(moment: Moment) -> int:
    return {"lobby": 700, "meeting": 1200}.get(moment, 0)


def _calls() -> list[Case]:
    """A bot waits, takes part and ends with the meeting, whatever the page is like."""
    cases: list[Case] = []
    for platform in PLATFORMS:
        like: dict[str, Scenario] = {
            "call": _CALL,
            "no-lobby": _with(_CALL, entry="open"),
            "late": _with(
                _CALL, render_ms=1200, server_ms=500, acts=(Act("lobby", "admit", 2500), Act("meeting", "end", 3000))
            ),
            "deaf": _with(_CALL, deaf_ms=900),
            "covered": _with(_CALL, covered=True),
            "alert": _with(_CALL, turns=(Turn("prejoin", "alert", 100),)),
            "alert-in-meeting": _with(_CALL, turns=(Turn("meeting", "alert", 100),)),
            "many-nodes": _with(_CALL, turns=(Turn("prejoin", "nodes:20000"),)),
            "reload": _with(_CALL, turns=(Turn("prejoin", "reload", 50),), loads=1),
            "slow-answer": _with(_CALL, join_ms=3000),
            "flicker": _with(_CALL, flickers=True, acts=(Act("lobby", "admit", 300), Act("meeting", "end", 2500))),
        }
        on = (Turn("meeting", "unmute:microphone", 700), Turn("meeting", "unmute:camera", 1500))
        like["switched-on-by-others"] = _with(_CALL, turns=on, acts=(*_CALL.acts[:1], Act("meeting", "end", 5000)))
        like["stuck-switches-until-loaded-anew"] = _with(
            _CALL, turns=(Turn("load", "stuck"), Turn("prejoin", "reload", 9000)), loads=1
        )
        for layout in _LAYOUTS[platform]:
            like[f"layout-{layout}"] = _with(_CALL, layout=(layout,))
        for moment, popup in _POPUPS[platform]:
            like[f"popup-{moment}-{popup}"] = _with(_CALL, turns=(Turn(moment, popup),))
        # On the other platforms another quick case is this call and more: refused once, framed, with popups.
        cases += [
            Case(platform, name, scenario, Reason.MEETING_ENDED, is_quick=(platform, name) == ("jitsi", "call"))
            for name, scenario in like.items()
        ]
    return cases


def _taken_elsewhere() -> list[Case]:
    """The page takes the bot somewhere else, by itself or because a person wants it."""
    cases: list[Case] = []
    for platform in PLATFORMS:
        back = Scenario(
            turns=(Turn("meeting", "lobby", 6500), Turn("lobby", "meeting", 12_000)),
            acts=(Act("meeting", "end", 20_000),),
        )
        blank = _with(
            _CALL,
            turns=(Turn("lobby", "blank", 300),),
            loads=1,
            acts=(Act("lobby", "admit", 34_000), *_CALL.acts[1:]),
        )
        cases.append(Case(platform, "blank-in-the-lobby", blank, Reason.MEETING_ENDED, "blank", takes_s=60))
        anew = _with(
            _CALL,
            turns=(Turn("meeting", "reload", 1500),),
            loads=1,
            acts=(Act("lobby", "admit", 600), Act("meeting", "end", 4000)),
        )
        cases.append(Case(platform, "reload-in-the-call", anew, Reason.MEETING_ENDED, "name_prompt"))
        cases.append(Case(platform, "lobby-again", back, Reason.MEETING_ENDED, "lobby_again"))
        for wording, screen in enumerate(("breakout", "")):
            away = Scenario(
                turns=(Turn("meeting", "away:6000", 800),), wording=wording, acts=(Act("meeting", "end", 9000),)
            )
            cases.append(Case(platform, f"away-{wording}", away, Reason.MEETING_ENDED, screen))
        over = Scenario(entry="lobby", acts=(Act("lobby", "end", 1500),))
        cases.append(Case(platform, "ends-in-the-lobby", over, Reason.NEVER_ADMITTED, "", is_quick=platform == "zoom"))
        lines = tuple(Act("meeting", f"say:Ann:{text}", 2500 + n) for n, text in enumerate(("Good morning", "Ann: hi")))
        scenario = Scenario(
            voices=("Vera",), acts=(*lines, Act("meeting", "tone:Vera", 2600), Act("meeting", "end", 5500)), wording=1
        )
        is_quick = platform == "teams"
        cases.append(Case(platform, "tells-of-others", scenario, Reason.MEETING_ENDED, tells=True, is_quick=is_quick))
        for deaf_ms in (150, 500, 950):
            deaf = _with(_CALL, deaf_ms=deaf_ms)
            cases.append(Case(platform, f"deaf-for-{deaf_ms}", deaf, Reason.MEETING_ENDED, most_late_s=0.6))
    for number, address in enumerate(("zoom.us/signin", "us02web.zoom.us/signin#/login")):
        kicked = Scenario(turns=(Turn("meeting", f"navigate:https://{address}", 1200),))
        cases.append(Case("zoom", f"kicked-to-sign-in-{number}", kicked, Reason.REMOVED_BY_HOST, "removed"))
    for platform in PLATFORMS:
        once = _with(_CALL, turns=(Turn("join" if platform == "teams" else "load", "refused"),), loads=1)
        cases.append(
            Case(platform, "refused-once", once, Reason.MEETING_ENDED, "refused", is_quick=platform == "google_meet")
        )
    return cases


def _deadlines() -> list[Case]:
    """People who do something or nothing, and the deadlines after which a bot leaves."""
    cases: list[Case] = []
    alone = AutomaticLeave(noone_joined_timeout=SILENT_S, everyone_left_timeout=SILENT_S)
    bots = BotNames(["notetaker", "recorder"], activate_after=0, timeout=SILENT_S)
    for platform in PLATFORMS:

        def case(
            name: str,
            scenario: Scenario,
            reason: Reason,
            leave: AutomaticLeave | None = None,
            screen: str = "in_meeting",
            *,
            asked_at: Moment | None = None,
            clicks_leave: bool = False,
            is_quick: bool = False,
            announces: bool = False,
            platform: str = platform,
        ) -> None:
            cases.append(
                Case(
                    platform,
                    name,
                    scenario,
                    reason,
                    screen,
                    leave or AutomaticLeave(),
                    asked_at=asked_at,
                    clicks_leave=clicks_leave,
                    is_quick=is_quick,
                    announces=announces,
                )
            )

        waits = AutomaticLeave(waiting_room_timeout=SILENT_S)
        case("nobody-admits", Scenario(entry="lobby"), Reason.WAITING_ROOM_TIMEOUT, waits, "waiting_room")
        case("no-host", Scenario(entry="lobby", host=False), Reason.HOST_NOT_STARTED, waits, "waiting_for_host")
        case(
            "host-came-late",
            Scenario(
                entry="lobby",
                host=False,
                acts=(Act("lobby", "host", 500), Act("lobby", "admit", 1500), Act("meeting", "end", 1500)),
            ),
            Reason.MEETING_ENDED,
        )
        case("nobody-joined", Scenario(people=()), Reason.NO_ONE_JOINED, alone, clicks_leave=True)
        case(
            "everyone-left",
            Scenario(acts=(Act("meeting", "leave:Ann", 1200),), hides_toolbar=True),
            Reason.EVERYONE_LEFT,
            alone,
            clicks_leave=True,
            is_quick=platform == "zoom",
        )
        case(
            "longest-call",
            Scenario(),
            Reason.MAX_DURATION,
            AutomaticLeave(in_call_recording_timeout=SILENT_S),
            clicks_leave=True,
        )
        case(
            "only-bots",
            Scenario(people=("Ann", "Acme Notetaker"), acts=(Act("meeting", "leave:Ann", 1200),)),
            Reason.ONLY_BOTS_LEFT,
            AutomaticLeave(bot_names=bots),
        )
        case(
            "silence",
            Scenario(voices=("Vera",), acts=(Act("meeting", "tone:Vera"), Act("meeting", "hush:Vera", 1500))),
            Reason.SILENCE,
            AutomaticLeave(voice_inactivity_timeout=SILENT_S),
        )
        speaks_on = (Act("meeting", "tone:Vera"), Act("meeting", "end", SILENT_S * 1000 + 3000))
        case(
            "voice-by-web-audio",
            Scenario(voices=("Vera",), acts=speaks_on, plays="graph", strict=True),
            Reason.MEETING_ENDED,
            AutomaticLeave(voice_inactivity_timeout=SILENT_S),
        )
        case("asked-in-prejoin", Scenario(render_ms=3000), Reason.USER_REQUESTED, screen="", asked_at="prejoin")
        case("asked-in-lobby", Scenario(entry="lobby"), Reason.USER_REQUESTED, screen="waiting_room", asked_at="lobby")
        case("asked-in-meeting", Scenario(), Reason.USER_REQUESTED, asked_at="meeting", clicks_leave=True)
        case(
            "says-that-it-records", Scenario(), Reason.USER_REQUESTED, asked_at="meeting", is_quick=True, announces=True
        )
        said = tuple(Act("meeting", f"say:Ann:{text}", 200 + 50 * place) for place, text in enumerate(_SAID))
        case(
            "chat-says-it-is-over",
            Scenario(acts=(*said, Act("meeting", "end", 2500))),
            Reason.MEETING_ENDED,
            is_quick=platform == "google_meet",
        )
    return cases


_SAID: Final = (
    *("You've been removed from the meeting", "You were denied", "This meeting has been ended by host"),
    *("Someone will let you in shortly", "Asking to be let in", "You have been kicked", "Meeting ended"),
)


def _words_of_others() -> list[Case]:
    """Text that people write never ends a call, however the page shows it. A call that is over ends the bot soon,
    whatever the page says about it.
    """
    cases: list[Case] = []
    for platform in PLATFORMS:
        for form in range(5):
            quotes = tuple(
                Turn("meeting", f"quote:{text}", 100 + 20 * place) for place, text in enumerate((*_SAID, *_SAID_OF_IT))
            )
            acts = (Act("meeting", "end", 15_000),)
            scenario = Scenario(people=("Ann", "Ben"), voices=("Vera",), turns=quotes, acts=acts, wording=form)
            cases.append(Case(platform, f"quoted-{form}", scenario, Reason.MEETING_ENDED, takes_s=15))
            if platform == "jitsi":
                appless = _with(scenario, turns=(Turn("load", "appless"), *quotes))
                is_quick = form == 0
                cases.append(
                    Case(platform, f"quoted-{form}-without-app", appless, Reason.MEETING_ENDED, takes_s=15)
                    if not is_quick
                    else Case(
                        platform,
                        "quoted-without-app",
                        _with(appless, acts=(Act("meeting", "end", 3000),)),
                        Reason.MEETING_ENDED,
                        is_quick=True,
                    )
                )
        for form, voices in enumerate((("Vera",), ())):
            over = Scenario(voices=voices, turns=(Turn("meeting", "vanish", 3000),), wording=form)
            cases.append(Case(platform, f"vanishes-{form}", over, Reason.MEETING_ENDED, most_s=30))
    return cases


_SAID_OF_IT: Final = (
    *("You have been removed from the meeting", "The host ended the meeting for everyone", "Call ended"),
    *("The meeting has been terminated", "You have been disconnected", "You left the meeting", "Reconnecting"),
)


def _troubles() -> list[Case]:
    """Servers and pages that do not work, and those that end a browser."""
    cases: list[Case] = []
    for platform in PLATFORMS:
        once = _with(_CALL, turns=(Turn("load", "nonsense"),), loads=1)
        splash = Scenario(turns=(Turn("load", "splash"),))
        cases += [
            Case(platform, "nothing-known-once", once, Reason.MEETING_ENDED, "unknown", takes_s=20),
            Case(platform, "splash", splash, Reason.PAGE_LOAD_FAILED, "blank"),
            Case(
                platform,
                "nothing-known",
                Scenario(turns=(Turn("load", "nonsense"),)),
                Reason.UI_ELEMENT_NOT_FOUND,
                "unknown",
            ),
            Case(platform, "server-error", Scenario(status=503), Reason.PAGE_LOAD_FAILED, ""),
            Case(platform, "server-silent", Scenario(server="silent"), Reason.PAGE_LOAD_FAILED, ""),
            Case(platform, "half-a-page", Scenario(server="half"), Reason.PAGE_LOAD_FAILED, ""),
            Case(
                platform,
                "elsewhere",
                Scenario(turns=(Turn("join", "navigate:https://elsewhere.example/"),)),
                Reason.UNEXPECTED_REDIRECT,
                "redirected",
            ),
            Case(
                platform,
                "endless-script",
                Scenario(turns=(Turn("meeting", "endless", 700),)),
                Reason.BROWSER_HUNG,
            ),
            Case(platform, "crash", Scenario(), Reason.BROWSER_CRASHED, crashes=True),
            Case(
                platform,
                "never-connects",
                Scenario(voices=("Vera",), sends_ice=False),
                Reason.ICE_FAILED,
                takes_s=30,
            ),
            Case(
                platform,
                "nothing-arrives",
                Scenario(voices=("Vera",), sends_media=False),
                Reason.NO_MEDIA,
                takes_s=600,
            ),
        ]
    for platform, host in (("google_meet", "accounts.google.com"), ("teams", "login.microsoftonline.com")):
        away = f"https://{host}/signin"
        cases += [
            Case(platform, "sign-in-page", Scenario(redirect=away), Reason.SIGN_IN_REQUIRED, "sign_in"),
            Case(
                platform,
                "sign-in-page-in-mid-join",
                Scenario(turns=(Turn("join", f"navigate:{away}"),)),
                Reason.SIGN_IN_REQUIRED,
                "sign_in",
                is_quick=platform == "teams",
            ),
        ]
    return cases


def _of_one_platform() -> list[Case]:
    waits = AutomaticLeave(waiting_room_timeout=SILENT_S)
    behind = _with(_CALL, passcode="s3cret.1")
    return [
        *(
            Case("google_meet", name, _with(_CALL, turns=(Turn("meeting", name),)), Reason.MEETING_ENDED)
            for name in ("gemini", "gemini_agree")
        ),
        Case(
            "google_meet",
            "captcha-that-goes-away",
            _with(_CALL, turns=(Turn("load", "captcha"), Turn("load", "prejoin", 2000))),
            Reason.MEETING_ENDED,
            "captcha",
        ),
        *(
            Case("google_meet", f"says-{wording}", _with(_CALL, entry="open", wording=wording), Reason.MEETING_ENDED)
            for wording in range(7)
        ),
        Case(
            "zoom",
            "registration",
            Scenario(redirect="https://zoom.us/webinar/register/WN_abc123"),
            Reason.REGISTRATION_REQUIRED,
            "registration",
            is_quick=True,
        ),
        Case(
            "zoom",
            "invalid-link",
            Scenario(turns=(Turn("load", "invalid"),)),
            Reason.HOST_NOT_STARTED,
            "waiting_for_host",
            waits,
        ),
        Case(
            "zoom",
            "invalid-until-the-host-comes",
            _with(_CALL, turns=(Turn("load", "invalid"),), loads=1),
            Reason.MEETING_ENDED,
            "waiting_for_host",
        ),
        *(
            Case("zoom", f"joining-says-{wording}", _with(_CALL, join_ms=1500, wording=wording), Reason.MEETING_ENDED)
            for wording in range(4)
        ),
        Case(
            "zoom",
            "framed-and-covered",
            _with(_CALL, layout=("frame",), covered=True, turns=(Turn("prejoin", "permission", 200),)),
            Reason.MEETING_ENDED,
            is_quick=True,
        ),
        *(
            Case(platform, "passcode-in-the-job", behind, Reason.MEETING_ENDED, passcode=behind.passcode)
            for platform in ("zoom", "jitsi")
        ),
        *(
            Case(platform, "passcode-mistyped", behind, Reason.PASSCODE_WRONG, "passcode_prompt", passcode="other")
            for platform in ("zoom", "jitsi")
        ),
        Case(
            "teams",
            "audio-twice",
            _with(_CALL, turns=(Turn("prejoin", "no_audio", 100), Turn("join", "no_audio"))),
            Reason.MEETING_ENDED,
            is_quick=True,
        ),
        *(
            Case("teams", f"hangup-{wording}", _with(_CALL, wording=wording), Reason.MEETING_ENDED)
            for wording in range(1, 3)
        ),
        Case("jitsi", "prejoin-skipped", _with(_CALL, prejoin=False), Reason.MEETING_ENDED),
        *(
            Case(
                "jitsi",
                f"guest-entry-{wording}",
                _with(_CALL, turns=(Turn("load", "guest"),), wording=wording),
                Reason.MEETING_ENDED,
                "launcher",
            )
            for wording in range(3)
        ),
        Case(
            "jitsi",
            "reconnects",
            _with(
                _CALL,
                turns=(Turn("meeting", "reconnecting", 400), Turn("meeting", "meeting", 1400)),
                acts=(Act("lobby", "admit", 300), Act("meeting", "end", 2500)),
            ),
            Reason.MEETING_ENDED,
        ),
        Case(
            "jitsi",
            "somebody-hidden",
            Scenario(people=("Ann", "Recorder"), hidden=("Recorder",), acts=(Act("meeting", "leave:Ann", 1200),)),
            Reason.EVERYONE_LEFT,
            automatic_leave=AutomaticLeave(everyone_left_timeout=SILENT_S),
        ),
    ]


def _with(scenario: Scenario, **changes: object) -> Scenario:
    return msgspec.structs.replace(scenario, **changes)


CASES: Final = (
    *_ends_by_screens(),
    *_calls(),
    *_deadlines(),
    *_taken_elsewhere(),
    *_words_of_others(),
    *_troubles(),
    *_of_one_platform(),
)
