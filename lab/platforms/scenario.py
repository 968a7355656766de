"""What a meeting on these pages is like: lobby or not, its people, and what its page does at which moment. Only data.

A page goes through the moments `load`, `prejoin`, `join` (the click until the answer), `lobby` and `meeting`. A `Turn`
is what the page does at one of them: it shows a screen or a pop-up of its platform (page/PLATFORM.js names them), or
misbehaves. An `Act` is what the people in the meeting do. Both are forgotten when the moment is over.
"""

from typing import Literal

import msgspec

Moment = Literal["load", "prejoin", "join", "lobby", "meeting"]
Layout = Literal["frame", "shadow", "renamed", "moved", "curly"]


class Turn(msgspec.Struct, frozen=True):
    """`after_ms` into the moment the page turns `to`: a screen, a pop-up, a moment, or trouble:

    `reload`, `navigate:ADDRESS`, `alert`, `endless` (a script without an end), `memory:MB`, `nodes:COUNT`,
    `quote:TEXT` (a notice with what somebody wrote), `vanish` (the call is over, in words that no rule knows),
    `blank` (nothing shows any more), `splash` (a logo, and nothing else), `away:MS` (to another room, and back after
    that long), `unmute:DEVICE` (somebody switches on the bot's), `stuck` (no switch moves), `appless` (Jitsi's page
    without its program), `rewire` (it gives up all connections, and makes new ones)
    """

    at: Moment
    to: str
    after_ms: int = 0


class Act(msgspec.Struct, frozen=True):
    """`after_ms` after somebody reached the moment: `admit`, `deny`, `remove`, `end`, `host`, `come:NAME`,
    `leave:NAME`, `say:NAME:TEXT`, `tone:NAME`, `hush:NAME`. Those that need somebody mean whoever reached the moment.
    """

    at: Literal["lobby", "meeting"]
    do: str
    after_ms: int = 0


class Scenario(msgspec.Struct, frozen=True):
    """`wording`: which of the known texts a screen shows, counted from 0. `layout`: how its elements are hidden from a
    bot that relies on details: in a frame, in a shadow root, without its classes and test ids, in another order and
    nesting, with curly apostrophes. `people` are in the meeting, and send nothing. `voices` are, too, and the page of
    voices plays them. `hidden`: those of both whom the platform does not show. `loads`: for how many loads of the page
    the turns count. `sends_ice`: False: no two browsers find each other. `sends_media`: False: they connect, and no
    media arrive. `strict`: a policy forbids the page scripts, workers, frames and connections that are not its own.
    `plays`: what others send, by an element of each, or by one graph of Web Audio.
    """

    entry: Literal["open", "lobby"] = "open"
    host: bool = True  # whether the host is there
    people: tuple[str, ...] = ("Ann",)
    voices: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    acts: tuple[Act, ...] = ()
    loads: int = 0  # 0: for all of them
    passcode: str = ""
    wording: int = 0
    layout: tuple[Layout, ...] = ()
    render_ms: int = 0  # how late each moment is drawn
    deaf_ms: int = 0  # how long a drawn page loses every click
    join_ms: int = 0  # from the click to the answer
    covered: bool = False  # something transparent lies over the button to join
    flickers: bool = False  # the list of people is empty for a moment, every second
    hides_toolbar: bool = False  # until the mouse moves
    prejoin: bool = True  # False: only as far as the page's own address may skip it
    sends_ice: bool = True
    sends_media: bool = True
    plays: Literal["elements", "graph"] = "elements"
    captions: bool = True  # whether they can be turned on
    weight_mb: int = 0  # of scripts that the page loads before it shows anything
    # The server
    server_ms: int = 0
    server: Literal["ok", "silent", "half"] = "ok"  # answers nothing, or sends the page without its end
    status: int = 200
    strict: bool = False
    redirect: str = ""  # to where it sends the browser instead of an answer

    @property
    def needs_server(self) -> bool:
        """Whether the server itself has to find the meeting by its address."""
        return self.server != "ok" or self.status != 200 or bool(self.redirect or self.server_ms or self.strict)
