"""What a look into a live worker sends."""

import msgspec
import pytest

from common.wire import looks
from common.wire.looks import Look, Picture


def test_what_is_said_is_understood() -> None:
    picture = Picture(1.5, "vm-1-2", b"\xff\xd8", "")
    assert looks.decode_picture(looks.encode(picture)) == picture
    assert looks.decode_look(looks.encode(Look("b1"))) == Look("b1")


@pytest.mark.parametrize("data", [b"", b"no message", b"\x81\xa1x\x01"])
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        looks.decode_look(data)
    with pytest.raises(msgspec.DecodeError):
        looks.decode_picture(data)
