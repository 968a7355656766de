"""A manifest is read as it was written, and by programs that know its schema only."""

import json
from typing import Final

import jsonschema
import msgspec
import pytest

from common.wire import manifest
from common.wire.manifest import AUDIO, VERSION, Audio, Gap, Manifest, Part, Segment

WHOLE: Final = Manifest(
    *(VERSION, "b1", 2, "room", 1000.0, 1020.5, True),
    parts=[Part(0, 1000.5), Part(1, 1015.0)],
    segments=[Segment(0, 0, "segment-000000.webm", 0.5, 1000.5, 1005.5, 60_000, "0f" * 32)],
    gaps=[Gap(1010.5, 1015.0, "agent_away")],
    audio=Audio(AUDIO, 120_000, "0f" * 32, 20.5, 4.5, -23.0, -30.0, None),
)


def test_what_is_written_is_read() -> None:
    for written in (WHOLE, Manifest(VERSION, "b1", 1, "room", 1000.0, None, finished=False)):
        assert manifest.decode(manifest.encode(written)) == written
        jsonschema.validate(json.loads(manifest.encode(written)), msgspec.json.schema(Manifest))


def test_each_attempt_has_a_folder_of_its_own() -> None:
    assert manifest.folder("b1", 2) == "b1/2"


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", manifest.encode(WHOLE).replace(b"agent_away", b"a whim")])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        manifest.decode(text)


def test_what_is_new_after_so_many_segments_is_in_the_order_of_its_names() -> None:
    names = [manifest.progress_after(segments) for segments in (1, 9, 10, 12_000)]
    assert names == sorted({*names})


def test_what_says_that_a_bot_was_deleted_is_beside_its_attempts() -> None:
    assert manifest.deleted("b1").rpartition("/")[0] == manifest.folder("b1", 2).rpartition("/")[0] == "b1"


def test_a_file_with_another_content_has_another_name() -> None:
    names = [manifest.named_by_content(AUDIO, 32 * pair) for pair in ("0f", "f0")]
    assert names == ["audio-0f0f0f0f0f0f0f0f.ogg", "audio-f0f0f0f0f0f0f0f0.ogg"]
