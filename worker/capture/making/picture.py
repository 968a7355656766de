"""Makes the video file of a recording, with its sound: an MP4 that begins with its index, so that players can seek in
it while they load it. Packets are copied, not encoded again, but where a tab that has only VP9 went on for a display: a
file has one codec. Each picture is shown until the next one, also over gaps, so the file keeps to the wall clock as the
sound does. Then the whole file is decoded.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Final, NamedTuple

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.video.frame import PictureType

from worker.capture.making.stills import Stills
from worker.capture.making.work import NO_ROOM, Stream, VideoReport

CLOCK: Final = 90_000
"""Ticks a second of the video's clock. A picture of any usual rate lasts a whole number of them."""
_OPTIONS: Final = {
    "movflags": "+faststart",
    "fflags": "+bitexact",  # the same input gives the same file
    "video_track_timescale": str(CLOCK),  # by default as coarse as the source's, and a tick less than one of its own
}

_ANNEX_B: Final = "h264_mp4toannexb"
"""Gives H.264 the form that a tab's has: each key frame says how to decode it. Of a display's only the head does."""
_X264: Final = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}
"""As a display is recorded."""


class Picture(NamedTuple):
    """An encoded picture. `at`: when it is shown, in ticks of CLOCK."""

    at: int
    is_key: bool
    data: bytes


class Writer:
    """Writes pictures and, in step with them, the packets of an audio file. `until`: when the last picture is shown."""

    def __init__(self, out: str, sound: str) -> None:
        self._file: Any = av.open(out, "w", format="mp4", options=_OPTIONS)
        self._stream: Any = None
        self._sound: Any = av.open(sound) if sound else None
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._waiting: Picture | None = None
        self.pictures = 0
        self.until = -1

    def begin(self, template: Any) -> None:
        if self._stream is not None:
            return
        self._stream = self._file.add_stream_from_template(template)
        if _has_other_form(template):
            BitStreamFilterContext(_ANNEX_B, template, self._stream)
        if self._sound:
            stream = self._file.add_stream_from_template(self._sound.streams.audio[0])
            self._packets = self._of_sound(stream)
            self._next = next(self._packets, None)

    def takes(self, source: Any) -> bool:
        """Whether packets of that stream fit into the file."""
        return source.codec.canonical_name == self._stream.codec.canonical_name

    def put(self, picture: Picture) -> None:
        """A picture that is not later than the one before it is put a tick after that one."""
        if self._waiting:
            picture = picture._replace(at=max(picture.at, self._waiting.at + 1))
            self._write(self._waiting, picture.at)
        else:
            picture = picture._replace(at=0)  # the first one is shown from the beginning
        self._waiting, self.until = picture, picture.at

    def close(self, ends_at: int) -> None:
        if self._waiting:
            self._write(self._waiting, max(ends_at, self._waiting.at + 1))
        while self._next is not None:
            self._mux_sound()
        self._file.close()
        if self._sound:
            self._sound.close()

    def _write(self, picture: Picture, ends_at: int) -> None:
        while self._next is not None and self._next.pts * self._next.time_base * CLOCK < picture.at:
            self._mux_sound()
        packet = av.Packet(picture.data)
        packet.stream = self._stream
        packet.time_base = Fraction(1, CLOCK)
        packet.pts = packet.dts = picture.at
        packet.duration = ends_at - picture.at
        packet.is_keyframe = picture.is_key
        self._file.mux_one(packet)
        self.pictures += 1

    def _mux_sound(self) -> None:
        self._file.mux_one(self._next)
        self._next = next(self._packets, None)

    def _of_sound(self, stream: Any) -> Iterator[Any]:
        for packet in self._sound.demux(audio=0):
            if packet.pts is not None and packet.size:
                packet.stream = stream
                yield packet


def _nobody(_duration_s: float) -> Sequence[Stills]:
    return ()


def make(
    streams: Sequence[Stream], sound: str, out: str, seen_by: Callable[[float], Sequence[Stills]] = _nobody
) -> tuple[VideoReport | None, list[int]]:
    """Write the file `out`, if there is any picture. Also returns the indexes of streams that could not be read to
    their end. `sound`: the path of the audio file for it, empty for none. `seen_by`: given the length of the file,
    says what gets its decoded pictures.

    Raises: av.error.FFmpegError.
    """
    writer = Writer(out, sound)
    unreadable: list[int] = []
    ends_s = recorded_s = 0.0
    for place, stream in enumerate(streams):
        ends_s = max(ends_s, stream.media_s + stream.ends_s)
        recorded_s += stream.ends_s
        try:
            for picture in _pictures(stream, writer):
                writer.put(picture)
        except (av.error.FFmpegError, IndexError, ValueError) as error:
            if getattr(error, "errno", None) in (errno.ENOMEM, *NO_ROOM):  # the stream itself may be undamaged
                raise
            unreadable.append(place)
    writer.close(round(ends_s * CLOCK))
    return (watch(out, recorded_s, seen_by) if writer.pictures else None), unreadable


def _pictures(stream: Stream, writer: Writer) -> Iterator[Picture]:
    """The pictures of a stream, from its first key frame on."""
    shows = False
    with av.open(stream.path) as file:
        source = file.streams.video[0]
        writer.begin(source)
        for packet in _copied(file, source) if writer.takes(source) else _as_h264(file, source):
            data = bytes(packet)
            if packet.pts is None or not packet.time_base or not data:
                continue
            shows |= packet.is_keyframe
            if shows:
                begins_s = float(packet.pts * packet.time_base)
                if stream.is_over(begins_s):
                    continue
                at_s = stream.media_s + begins_s
                yield Picture(round(at_s * CLOCK), packet.is_keyframe, data)


def _copied(file: Any, source: Any) -> Iterator[Any]:
    if not _has_other_form(source):
        yield from file.demux(source)
        return
    form: Any = BitStreamFilterContext(_ANNEX_B, source)
    for packet in file.demux(source):
        yield from form.filter(packet) if packet.size else ()


def _has_other_form(source: Any) -> bool:
    """Whether it is H.264 in another form than a tab's, whose head begins with a start code."""
    head = bytes(source.codec_context.extradata or b"")
    return source.codec.canonical_name == "h264" and not head.startswith((b"\0\0\1", b"\0\0\0\1"))


def _as_h264(file: Any, source: Any) -> Iterator[Any]:
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = source.width, source.height, "yuv420p"
    encoder.time_base, encoder.options, encoder.thread_count = source.time_base, _X264, 1
    for frame in file.decode(source):
        frame.pict_type = PictureType.I if frame.key_frame else PictureType.NONE
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def watch(path: str, recorded_s: float, seen_by: Callable[[float], Sequence[Stills]] = _nobody) -> VideoReport:
    """Decode the file as a player would, and measure it. Raises: av.error.FFmpegError."""
    damaged = 0
    with av.open(path) as file:
        stream = file.streams.video[0]
        stream.thread_type = "NONE"  # one thread: the other processors are for meetings
        duration_s = float((file.duration or 0) / av.time_base)
        all_stills = seen_by(duration_s)
        for packet in file.demux(stream):
            try:
                for frame in packet.decode():
                    damaged += frame.is_corrupt
                    for stills in all_stills:
                        stills.see(frame)
            except av.error.InvalidDataError:
                damaged += 1
        for stills in all_stills:
            stills.end()
        context: Any = stream.codec_context
        return VideoReport(
            round(duration_s, 3),
            round(recorded_s, 3),
            context.name,
            context.width,
            context.height,
            stream.frames,
            damaged,
        )
