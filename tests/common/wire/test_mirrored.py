"""The form of a mirrored record: the order of writes as numbers, and what each request says."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.jobs.record import Record
from common.wire.mirrored import FIELDS, FLAGS, deletion, mark, sequence, update

ids = st.tuples(st.integers(0, 10**14), st.integers(0, 999_999))


@given(ids, ids)
def test_numbers_are_in_the_order_of_a_stream_s_ids(one: tuple[int, int], other: tuple[int, int]) -> None:
    numbers = [sequence(f"{milliseconds}-{number}") for milliseconds, number in (one, other)]
    assert (numbers[0] < numbers[1]) == (one < other)
    assert len(str(numbers[0])) <= 38, "as many digits as DynamoDB keeps"


def test_an_id_without_its_second_part_is_the_first_of_its_moment() -> None:
    assert sequence("17") == sequence("17-0") < sequence("17-1") < sequence("18-0")
    with pytest.raises(ValueError, match="invalid literal"):
        sequence("x-1")


def test_everything_it_names_is_in_the_session_record() -> None:
    assert {*FIELDS, *FLAGS} <= set(Record.from_hash({"bot_id": "b"}).texts())


def test_a_request_names_all_that_it_uses_and_nothing_else() -> None:
    """DynamoDB refuses names and values that no expression uses, and words that it reserves."""
    fields = {"state": "queued", "owner": "", "attempt": "2"}
    requests = [
        update("t", "b", 7, 9, fields, {"audio_webhook_received": True, "transcript_webhook_received": False}),
        mark("t", "b", "audio_webhook_received", 9),
        deletion("t", "b", 7, 1000.0),
    ]
    for request in requests:
        said = " ".join(request.get(f"{kind}Expression", "") for kind in ("Update", "Condition"))
        assert set(re.findall(r"#\w+", said)) == set(request["ExpressionAttributeNames"])
        assert set(re.findall(r":\w+", said)) == set(request["ExpressionAttributeValues"])
    assert "REMOVE #deleted, #owner" in requests[0]["UpdateExpression"]
    assert requests[0]["ExpressionAttributeValues"][":attempt"] == {"N": "2"}
    assert requests[2]["Item"]["expires_at"] == {"N": "87400"}
