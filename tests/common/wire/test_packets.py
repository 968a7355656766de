"""What worker/capture/packets.js writes is read."""

import msgspec

from common.wire.packets import Line, Packets


def test_a_line_holds_what_came_of_each_track() -> None:
    text = '{"at": 1250, "tracks": [{"track": 0, "id": "a1", "packets": [[1010.5, 960, "/P8="]]}]}'
    assert msgspec.json.decode(text, type=Line) == Line(1250.0, [Packets(0, "a1", [(1010.5, 960, "/P8=")])])
