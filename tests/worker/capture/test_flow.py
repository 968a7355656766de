"""A recorder that gives nothing of a kind is noticed, and not before it may just be late."""

import pytest

from common.wire.manifest import Kind
from worker.capture.flow import BELIEVED_S, Flow


@pytest.mark.parametrize(
    ("looks", "late"),
    [
        ([], None),
        ([(BELIEVED_S - 0.1, ())], None),
        ([(BELIEVED_S, ())], "audio"),
        ([(5.0, ("audio",)), (BELIEVED_S, ())], "video"),
        ([(5.0, ("audio", "video")), (BELIEVED_S, ())], None),
        ([(5.0, ("audio", "video")), (5.0 + BELIEVED_S, ("video",))], "audio"),
    ],
)
def test_what_gives_nothing_for_too_long_is_named(
    looks: list[tuple[float, tuple[Kind, ...]]], late: Kind | None
) -> None:
    flow = Flow(("audio", "video"))
    flow.begin_anew(100.0)
    found = [flow.look(100.0 + after_s, came) for after_s, came in looks]
    assert found[-1:] == ([late] if looks else [])
    assert not any(found[:-1])
