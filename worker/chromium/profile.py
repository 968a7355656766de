"""The profile of a worker: how its Chromium is launched. Its name is a hash of all that, so that what was made for one
profile (warm_pages.py) is never taken for another's. Starts nothing.
"""

import hashlib
import os
from pathlib import Path
from typing import Final, NamedTuple, Self

from common.config.settings import WorkerSettings

# https://source.chromium.org/chromium/chromium/src/+/main: content_switches.cc, chrome_switches.cc, headless.
_ARGUMENTS: Final = (
    "--remote-debugging-port=0",
    "--lang=en-US",
    "--no-first-run",
    "--no-default-browser-check",
    "--autoplay-policy=no-user-gesture-required",
    "--password-store=basic",
    # It calls nobody but the meeting.
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
    # A meeting in a window that nobody looks at goes on at full speed.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)
_FEATURES_OFF: Final = (
    "Translate",
    "MediaRouter",
    "DialMediaRouteProvider",
    "OptimizationHints",
    "OptimizationGuideModelDownloading",
    # A renderer on spare, and one that draws the address bar's suggestions: 50 MB PSS a browser, measured on 156.
    "SpareRendererForSitePerProcess",
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "PreloadTopChromeWebUI",
    # The audio path is open from the start, in the browser's own process: a page's first AudioContext runs after 2 ms
    # instead of 36, and a bot in a call takes 20 MB PSS less, measured on 156. Decoding stays in the page's process.
    "AudioServiceOutOfProcess",
)
# There is no switch for graphics. A bot in the room with one video tile took 6.1 % of a core, with --in-process-gpu 5.1
# to 6.2, with --disable-gpu --disable-software-rasterizer 6.5 to 6.7: headless and on a display, measured on 156.

_DEVICES: Final = {
    "none": (),
    # The second one lets the page have them without a question, also while no agent is there to answer.
    "fake": ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
}
CAPTURED_TITLE: Final = "poolmgr: this tab is recorded"
"""Of the tab whose sound a recorder in the same browser is given without a question (worker/capture)."""
_TO_MERGE: Final = "--disable-features="


class Profile(NamedTuple):
    """`display_size`: of a virtual display of its own, empty when there is none. `environment` is the agent's."""

    chromium: Path
    headless: bool = True
    display_size: str = ""
    devices: str = "none"
    further: tuple[str, ...] = ()

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

    @property
    def needs_no_sandbox(self) -> bool:
        return os.geteuid() == 0

    @property
    def switches(self) -> list[str]:
        """All but those that name the folder."""
        # Of a switch that is given twice, Chromium heeds the last.
        features_off = [*_FEATURES_OFF, *(one.removeprefix(_TO_MERGE) for one in self.further if _merges(one))]
        return [
            *(["--headless=new"] if self.headless else []),
            *(["--no-sandbox"] if self.needs_no_sandbox else []),
            *([f"--window-size={self.display_size.replace('x', ',')}"] if self.display_size else []),
            *(["--window-position=0,0"] if self.display_size else []),
            f"{_TO_MERGE}{','.join(features_off)}",
            *_ARGUMENTS,
            f"--auto-select-tab-capture-source-by-title={CAPTURED_TITLE}",
            *_DEVICES[self.devices],
            *(one for one in self.further if not _merges(one)),
        ]

    @property
    def name(self) -> str:
        """Another one after any change of settings, and after an upgrade of Chromium. Raises: OSError."""
        program = self.chromium.stat()
        what = "\0".join([str(self.chromium), str(program.st_size), str(program.st_mtime_ns), *self.switches])
        return hashlib.sha256(what.encode()).hexdigest()[:16]


def _merges(switch: str) -> bool:
    return switch.startswith(_TO_MERGE)
