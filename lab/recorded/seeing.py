"""What a finished video looks like, found out as by eye: decoded, and read where somebody's tile is.

Whoever sends it (PATTERN) shows a counter of 16 bits, four rows of four blocks in the left half of their picture, and a
flash in the right half, as long as their tones are loud: a fifth of each second. Their page notes when each begins.
`speak` plays a WAV on both sides; neither tones nor flashes are sent meanwhile, and for HUSH_S before and after it.
"""

from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple

import av

BITS: Final = 16
QUIET: Final = 0.01
LOUD: Final = 0.5
FLASH_S: Final = 0.2
HUSH_S: Final = 1.5
_HALF: Final = 128

PATTERN: Final = (
    """
  navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
    const context = new AudioContext();
    const [sides, sent] = [context.createChannelMerger(2), context.createMediaStreamDestination()];
    const gains = [440, 1000].map((hz, side) => {
      const [tone, gain] = [context.createOscillator(), context.createGain()];
      tone.frequency.value = hz;
      tone.connect(gain).connect(sides, 0, side);
      tone.start();
      return gain.gain;
    });
    sides.connect(sent);
    const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
    const pen = canvas.getContext("2d");
    globalThis.sent = []; // when each flash and beep began, in epoch seconds
    let [counter, wasOn, isHushed] = [0, false, false];
    globalThis.speak = async (wav) => { // Base64; answers when the voice begins, in epoch seconds, once it is over
      const bytes = Uint8Array.from(atob(wav), (letter) => letter.charCodeAt(0));
      const voice = context.createBufferSource();
      voice.buffer = await context.decodeAudioData(bytes.buffer);
      isHushed = true;
      for (const side of [0, 1]) voice.connect(sides, 0, side);
      const over = new Promise((done) => (voice.onended = done));
      const at = Date.now() / 1000 + %(hush_s)s;
      voice.start(context.currentTime + %(hush_s)s);
      await over;
      setTimeout(() => (isHushed = false), %(hush_s)s * 1000);
      return at;
    };
    setInterval(() => {
      counter += 1;
      const isOn = !isHushed && performance.now() % 1000 < %(flash_ms)d;
      if (isOn && !wasOn) globalThis.sent.push(Date.now() / 1000);
      wasOn = isOn;
      const level = isHushed ? 0 : isOn ? %(loud)s : %(quiet)s;
      for (const gain of gains) gain.setValueAtTime(level, context.currentTime);
      pen.fillStyle = "black";
      pen.fillRect(0, 0, 320, 180);
      pen.fillStyle = "white";
      for (let bit = 0; bit < %(bits)d; bit += 1)
        if ((counter >> bit) & 1) pen.fillRect((bit % 4) * 40, (bit >> 2) * 45, 40, 45);
      if (isOn) pen.fillRect(160, 0, 160, 180);
    }, 1000 / 15);
    const tracks = [...(audio ? sent.stream.getTracks() : []), ...(video ? canvas.captureStream(15).getTracks() : [])];
    return new MediaStream(tracks);
  };
""".replace("(bit % 4)", "(bit %% 4)").replace("now() % 1000", "now() %% 1000")
    % {
        "flash_ms": FLASH_S * 1000,
        "hush_s": HUSH_S,
        "loud": LOUD,
        "quiet": QUIET,
        "bits": BITS,
    }
)


class Box(NamedTuple):
    """Where in the picture somebody's own is, in pixels."""

    x: float
    y: float
    width: float
    height: float


class Picture(NamedTuple):
    """`at`: when it is shown, in seconds. `flash`: whether the right half is bright."""

    at: float
    counter: int
    flash: bool


class Watched(NamedTuple):
    width: int
    height: int
    duration_s: float
    pictures: list[Picture]

    @property
    def flashes(self) -> list[float]:
        """When they begin."""
        return [picture.at for before, picture in pairwise(self.pictures) if picture.flash and not before.flash]

    def rate(self, since_s: float, until_s: float) -> float:
        """Different pictures a second."""
        seen = {picture.counter for picture in self.pictures if since_s <= picture.at < until_s}
        return len(seen) / (until_s - since_s)


def watch(path: Path, box: Box, *, since_s: float = 0.0, until_s: float = float("inf")) -> Watched:
    """Decodes it from `since_s` on, sought, to `until_s`. Raises: av.error.FFmpegError."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        if since_s:
            file.seek(round(since_s * av.time_base))
        frames = takewhile(lambda frame: (frame.time or 0.0) < until_s, file.decode(stream))
        pictures = [_read(frame, box) for frame in frames]
        return Watched(stream.width, stream.height, float((file.duration or 0) / av.time_base), pictures)


def _read(frame: av.VideoFrame, box: Box) -> Picture:
    grey: Any = frame.reformat(format="gray")
    plane = grey.planes[0]
    data, line = bytes(plane), int(plane.line_size)

    def is_bright(across: float, down: float) -> bool:
        x, y = round(box.x + across * box.width), round(box.y + down * box.height)
        patch: list[int] = [data[(y + dy) * line + x + dx] for dy in (-2, 0, 2) for dx in (-2, 0, 2)]
        return sum(patch) / len(patch) > _HALF

    bits = [is_bright((bit % 4 + 0.5) / 8, (bit // 4 + 0.5) / 4) for bit in range(BITS)]
    return Picture(float(frame.time or 0.0), sum(1 << bit for bit, on in enumerate(bits) if on), is_bright(0.75, 0.25))


NOTE: Final = """() => {
  const video = document.querySelector(".tile[data-camera] video");
  const context = new AudioContext();
  const analyser = Object.assign(context.createAnalyser(), { fftSize: 512 });
  context.createMediaStreamSource(video.srcObject).connect(analyser);
  const [heard, pen] = [new Float32Array(512), document.createElement("canvas").getContext("2d")];
  globalThis.noted = { flashes: [], beeps: [], isOver: false };
  let [isLoud, isBright] = [false, false];
  const listening = setInterval(() => {
    if (noted.isOver) {
      clearInterval(listening);
      context.close();
    }
    analyser.getFloatTimeDomainData(heard);
    const loud = Math.sqrt(heard.reduce((sum, each) => sum + each * each, 0) / heard.length) > 0.1;
    if (loud && !isLoud) noted.beeps.push(Date.now() / 1000);
    isLoud = loud;
  }, 10);
  const look = (_, { expectedDisplayTime }) => {
    pen.drawImage(video, video.videoWidth * 0.7, video.videoHeight * 0.2, 8, 8, 0, 0, 8, 8);
    const bright = pen.getImageData(4, 4, 1, 1).data[0] > 128;
    if (bright && !isBright) noted.flashes.push((performance.timeOrigin + expectedDisplayTime) / 1000);
    isBright = bright;
    if (!noted.isOver) video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}"""
"""Has the bot's page note by itself when it shows a flash, and when it plays a beep, until `isOver`: epoch seconds."""
