"""The profile of a worker: how its Chromium is launched. Starts nothing.

A profile's name is a hash of all its settings, so that a cache (warm_pages.py) is not used after they have changed.
"""

import hashlib
import os
from pathlib import Path
from typing import Final, NamedTuple, Self

from common.config.settings import CaptureSettings, WorkerSettings

# https://source.chromium.org/chromium/chromium/src/+/main: content_switches.cc, chrome_switches.cc, headless.
_ARGUMENTS: Final = (
    "--remote-debugging-port=0",
    "--lang=en-US",
    "--accept-lang=en-US,en",  # the headless shell sends no Accept-Language without it
    "--no-first-run",
    "--no-default-browser-check",
    "--autoplay-policy=no-user-gesture-required",
    "--password-store=basic",
    # No requests other than the meeting's.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-client-side-phishing-detection",
    "--disable-domain-reliability",
    "--metrics-recording-only",
    "--disable-extensions",
    "--disable-component-extensions-with-background-pages",
    # A meeting in a hidden window runs at full speed.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-infobars",  # the one that says of a tab that it is captured takes 57 pixels of its page
)
_FEATURES_OFF: Final = (
    "Translate",
    "MediaRouter",
    "DialMediaRouteProvider",
    "OptimizationHints",
    "OptimizationGuideModelDownloading",
    # A spare renderer, and one for the address bar's suggestions: together 50 MB PSS a browser, measured on 156.
    "SpareRendererForSitePerProcess",
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "PreloadTopChromeWebUI",
    # A page that was left would stay in memory for whoever goes back, and the next one would need a process of its own.
    # Measured on 156: to a page and back to an empty one took 0.25 s of a processor, and takes 0.15 without.
    "BackForwardCache",
    # Without this feature audio is played in the browser's own process. Measured on 156: a page's first AudioContext
    # runs after 2 ms instead of 36, and a bot in a call takes 20 MB PSS less. Decoding stays in the page's process.
    "AudioServiceOutOfProcess",
)
_FEATURES_ON: Final = (
    # The network service runs in the browser's own process. Measured on 156: 15 MB PSS a browser less, and a tenth less
    # processor time until it is warm. No protection is lost: on Linux the process of that service has no sandbox
    # (--service-sandbox-type=none). A worker shares its network with no other worker, because its browser is its own.
    "NetworkServiceInProcess2",
)
# Switches for graphics bring nothing. Measured on 156, headless and on a display: a bot in the project's own room with
# one video tile took 6.1 % of a core; with --in-process-gpu 5.1 to 6.2 %; with --disable-gpu
# --disable-software-rasterizer 6.5 to 6.7 %. Nor does a larger buffer for sound: 9.9, 9.9, 9.9 % of a core, with
# --audio-buffer-size=1024 9.7, 10.7 %, with 2048 9.9 %.

_DEVICES: Final = {
    "none": (),
    # The second switch grants the devices without a question, also while no agent runs.
    "fake": ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
}
CAPTURED_TITLE: Final = "poolmgr: this tab is recorded"
"""The title of a tab that a recorder in the same browser may record without a question (worker/capture)."""
_FRAME_WIDTH: Final = 16
_FRAME_HEIGHT: Final = 200
"""What a window has around its page, with room to spare. Seen on 156: 0 and 85 pixels, 122 with a bar for a message."""
_OFF: Final = "--disable-features="
_ON: Final = "--enable-features="


class Profile(NamedTuple):
    """`display_size`: WIDTHxHEIGHT of the browser's own virtual display; empty: it has none. `records`: beside that
    display it has a sound server, and what records both can be started. `further`: switches from
    worker.chromium_arguments.
    """

    chromium: Path
    headless: bool = True
    display_size: str = ""
    devices: str = "none"
    further: tuple[str, ...] = ()
    records: bool = False

    @classmethod
    def of(cls, chromium: Path, settings: WorkerSettings) -> Self:
        virtual = not settings.headless and settings.display == "virtual"
        return cls(
            chromium,
            settings.headless,
            settings.display_size if virtual else "",
            settings.devices,
            tuple(settings.chromium_arguments),
        )

    @classmethod
    def recorded(cls, chromium: Path, settings: WorkerSettings, capture: CaptureSettings) -> Self | None:
        """The profile of workers that are recorded from their display; None: nothing is recorded so."""
        if not capture.needs_display:
            return None
        width, _, height = capture.video_size.partition("x")
        size = f"{int(width) + _FRAME_WIDTH}x{int(height) + _FRAME_HEIGHT}"
        return cls(chromium, False, size, settings.devices, tuple(settings.chromium_arguments), records=True)

    @property
    def needs_no_sandbox(self) -> bool:
        return os.geteuid() == 0

    @property
    def switches(self) -> list[str]:
        """All switches but the one that names the folder."""
        # If a switch is given twice, Chromium uses the last one: so each list of features is merged into one switch.
        off, on = _merged(_OFF, _FEATURES_OFF, self.further), _merged(_ON, _FEATURES_ON, self.further)
        return [
            *(["--headless=new"] if self.headless else []),
            *(["--no-sandbox"] if self.needs_no_sandbox else []),
            *([f"--window-size={self.display_size.replace('x', ',')}"] if self.display_size else []),
            *(["--window-position=0,0"] if self.display_size else []),
            off,
            on,
            *_ARGUMENTS,
            f"--auto-select-tab-capture-source-by-title={CAPTURED_TITLE}",
            *_DEVICES[self.devices],
            *(each for each in self.further if not each.startswith((_OFF, _ON))),
        ]

    @property
    def name(self) -> str:
        """A hash that changes with any setting and with any upgrade of Chromium. Raises: OSError."""
        program = self.chromium.stat()
        what = "\0".join([str(self.chromium), str(program.st_size), str(program.st_mtime_ns), *self.switches])
        return hashlib.sha256(what.encode()).hexdigest()[:16]


def _merged(switch: str, ours: tuple[str, ...], further: tuple[str, ...]) -> str:
    """The switch with our features and those that it has in `further`."""
    return switch + ",".join([*ours, *(each.removeprefix(switch) for each in further if each.startswith(switch))])
