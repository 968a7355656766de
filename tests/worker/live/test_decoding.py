"""Sound of the recorder's chunks: what is damaged costs no more than itself."""

import struct
from collections.abc import Sequence
from typing import Final

import pytest
from structlog.testing import capture_logs

from tests.waiting import wait_until
from tests.worker.capture.test_making_tracks import tone
from worker.live import decoding
from worker.live.decoding import BEGINNING, MOST_UNHEARD, Decoder, Undecoded
from worker.live.frames import RATE

CHUNK_S: Final = 0.24
PACKETS: Final = tone(8.0)


def block(number: int, data: bytes) -> bytes:
    """A SimpleBlock of track 1 (RFC 9559)."""
    content = b"\x81" + struct.pack(">hB", number * 20, 0x80) + data
    return b"\xa3" + struct.pack(">H", 0x4000 | len(content)) + content


NO_WEBM: Final = b"\xff" * 700
NO_BEGINNING: Final = BEGINNING[:4] + NO_WEBM
CUT_SHORT: Final = block(0, PACKETS[0])[:-7]


def chunks() -> list[bytes]:
    """As the recorder makes them: the first has the beginning."""
    blocks = [block(number, data) for number, data in enumerate(PACKETS)]
    rows = [b"".join(blocks[at : at + 12]) for at in range(0, len(blocks), 12)]
    return [BEGINNING + rows[0], *rows[1:]]


async def decoded_s(parts: Sequence[Sequence[bytes]]) -> float:
    heard: list[bytes] = []
    decoder = Decoder(heard.append)
    for number, part in enumerate(parts):
        for chunk in part:
            decoder.put(number, chunk)
    decoder.end()
    decoder.begin()
    await wait_until(lambda: b"" in heard)
    return sum(map(len, heard)) / 2 / RATE


@pytest.mark.parametrize("damaged", [[1], [0], [5, 6], [3, 9, 15, 21], [*range(10, 20)]])
@pytest.mark.parametrize("what", [NO_WEBM, NO_BEGINNING, CUT_SHORT])
async def test_a_damaged_chunk_costs_little_more_than_itself_and_one_line_of_the_log(
    damaged: list[int], what: bytes
) -> None:
    given = [what if number in damaged else chunk for number, chunk in enumerate(chunks())]
    most_s = 8.0 - CHUNK_S * len(damaged)
    least_s = most_s - (MOST_UNHEARD + 1) * CHUNK_S * len(damaged)
    with capture_logs() as logs:
        assert least_s - 0.1 <= await decoded_s([given]) <= most_s + 0.1
    assert [log["event"] for log in logs] == ["live_sound_undecoded"]


async def test_damage_that_goes_on_is_logged_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as logs:
        assert await decoded_s([[NO_BEGINNING] * 40, chunks()]) == pytest.approx(8.0, abs=0.1)
        assert [log["times"] for log in logs] == [1]
        undecoded = Undecoded()
        for _ in range(40):
            undecoded.note("it")
        monkeypatch.setattr(decoding, "LOG_EVERY_S", 0.0)
        undecoded.note("it")
    assert [log["times"] for log in logs] == [1, 1, 40]
