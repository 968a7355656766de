"""How others record sound and picture, to compare with: a program for each bot.

`on_display`: a browser with a window on an Xvfb with a sound server, recorded by ffmpeg, as Attendee and Jibri do.
`in_page`: the meeting's page captures itself, and calls a function of the program with each chunk as base64, as
ScreenApp does.

Both record 1280x720, 15 pictures a second, into a file in `folder`. They need Debian's xvfb, pulseaudio and ffmpeg.
"""

import asyncio
import base64
import os
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import Page, async_playwright

from lab.parts import StageError
from lab.parts.browser import launch
from lab.parts.table import below

FILE: Final = "recorded"
_DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.05
_SIZE: Final = "1280x720"
_TITLE: Final = "this tab records itself"
_MUTE: Final = ["--mute-audio"]
"""Playwright's own, with which nothing would be heard."""
_SOUND: Final = """load-module module-native-protocol-unix socket={socket}
load-module module-null-sink sink_name=meeting rate=48000 channels=2
"""
_FFMPEG: Final = (
    f"-f x11grab -framerate 15 -video_size {_SIZE} -i :{{display}} -f pulse -i meeting.monitor"
    " -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -f matroska"
)
_RECORD: Final = f"""async () => {{
  document.title = "{_TITLE}";
  const video = {{ width: 1280, height: 720, frameRate: 15 }};
  const stream = await navigator.mediaDevices.getDisplayMedia({{ video, audio: true, preferCurrentTab: true }});
  const recorder = new MediaRecorder(stream, {{ mimeType: "video/webm;codecs=vp8,opus" }});
  recorder.ondataavailable = async ({{ data }}) => {{
    const bytes = new Uint8Array(await data.arrayBuffer());
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    await keep(btoa(text));
  }};
  recorder.start(1000);
}}"""

Enter = Callable[[Page], Awaitable[None]]


@asynccontextmanager
async def on_display(folder: Path, enter: Enter) -> AsyncGenerator[set[int]]:
    """A bot that `enter` takes into its meeting, and that is recorded. Yields the processes, but for Playwright's
    driver. Raises: StageError.
    """
    before = below([os.getpid()])
    environment = {**os.environ, "HOME": str(folder), "PULSE_RUNTIME_PATH": str(folder)}
    async with AsyncExitStack() as stack:
        display = await _start_display(stack, folder)
        (folder / "sound.pa").write_text(_SOUND.format(socket=folder / "pulse"))
        options = "-n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --log-level=error -F"
        _start(stack, folder, ["pulseaudio", *options.split(), str(folder / "sound.pa")], environment)
        await _until((folder / "pulse").exists, "the sound server")
        environment |= {"DISPLAY": f":{display}", "PULSE_SERVER": f"unix:{folder / 'pulse'}"}
        beside = below([os.getpid()])
        playwright = await stack.enter_async_context(async_playwright())
        driver = below([os.getpid()]) - beside
        switches = ("--window-position=0,0", f"--window-size={_SIZE.replace('x', ',')}")
        browser = await launch(playwright, *switches, headless=False, env=environment, ignore_default_args=_MUTE)
        stack.push_async_callback(browser.close)
        await enter(await browser.new_page(no_viewport=True))
        command = ["ffmpeg", "-v", "error", *_FFMPEG.format(display=display).split(), str(folder / FILE)]
        _start(stack, folder, command, environment)
        await _until(lambda: _has_begun(folder), "ffmpeg")
        yield below([os.getpid()]) - before - driver


@asynccontextmanager
async def in_page(folder: Path, enter: Enter) -> AsyncGenerator[set[int]]:
    """As `on_display`."""
    before = below([os.getpid()])
    async with async_playwright() as playwright:
        driver = below([os.getpid()]) - before
        switches = ("--auto-accept-this-tab-capture", f"--auto-select-tab-capture-source-by-title={_TITLE}")
        browser = await launch(playwright, *switches, ignore_default_args=_MUTE)
        try:
            page = await browser.new_page(viewport={"width": 1280, "height": 720})
            with (folder / FILE).open("wb") as file:

                def keep(chunk: str) -> None:
                    file.write(base64.b64decode(chunk))
                    file.flush()

                await page.expose_function("keep", keep)  # pyright: ignore[reportUnknownMemberType]
                await enter(page)
                await page.evaluate(_RECORD)
                await _until(lambda: _has_begun(folder), "the page's recorder")
                yield below([os.getpid()]) - before - driver
        finally:
            await browser.close()


def _has_begun(folder: Path) -> bool:
    file = folder / FILE
    return file.exists() and file.stat().st_size > 0


async def _until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise StageError(f"{what} did not begin within {_DEADLINE_S:.0f} s")
        await asyncio.sleep(_POLL_S)


async def _start_display(stack: AsyncExitStack, folder: Path) -> str:
    """Returns: the display's number."""
    ours, theirs = os.pipe()
    command = ["Xvfb", "-displayfd", str(theirs), "-screen", "0", f"{_SIZE}x24", "-nolisten", "tcp"]
    _start(stack, folder, command, dict(os.environ), theirs)
    os.close(theirs)
    with os.fdopen(ours) as number:
        found = (await asyncio.wait_for(asyncio.to_thread(number.readline), _DEADLINE_S)).strip()
    if not found:
        raise StageError(f"Xvfb did not start: {(folder / 'log').read_text()[-500:]}")
    return found


def _start(stack: AsyncExitStack, folder: Path, command: list[str], environment: dict[str, str], *kept: int) -> None:
    """It ends with the stack. `kept`: file descriptors that it inherits. Raises: StageError."""
    if not shutil.which(command[0]):
        raise StageError(f"cannot start {command[0]}: it is not installed; ./dev bench installs it")
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, pass_fds=kept, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

    def end() -> None:
        process.terminate()
        try:
            process.wait(_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
