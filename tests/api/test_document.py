"""The document tells the truth: it is valid, it is what is served, and what is served answers as it says."""

import asyncio
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator

from poolmgr.api.routes import OPERATIONS
from tests.api.conftest import TOKEN, World
from tests.examples import examples


async def _document(world: World) -> dict[str, Any]:
    async with world.serving() as call:
        answer = await call("GET", "/openapi.json", headers={"Authorization": ""})
        assert answer.status == 200
        return answer.body


async def test_the_document_is_served_without_a_token_and_names_every_operation(world: World) -> None:
    document = await _document(world)
    assert document["openapi"] == "3.1.0"
    named = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert named == {(operation.method, f"/api/v1{operation.path}") for operation in OPERATIONS}
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_every_reference_in_the_document_leads_to_something(world: World) -> None:
    document = await _document(world)
    references = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)))
    assert references
    assert references <= document["components"]["schemas"].keys()


async def test_the_page_for_people_asks_nobody_for_anything(world: World) -> None:
    async with world.serving() as call:
        answer = await call("GET", "/docs", headers={"Authorization": ""})
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"<script|<link|<img|src=|https?://|\son\w+=", answer.body)
    for operation in OPERATIONS:
        assert f"<code>/api/v1{operation.path}</code>" in answer.body
    for target in re.findall(r"href='#(\w+)'", answer.body):
        assert f"id='{target}'" in answer.body


async def test_the_documents_can_be_left_out(world: World) -> None:
    world.change(documents=False)
    async with world.serving() as call:
        for path in ("/openapi.json", "/docs"):
            assert (await call("GET", path)).status == 404


@pytest.mark.long
async def test_what_is_served_answers_as_the_document_says(world: World) -> None:
    hand = await world.ledger()
    await hand.enter("b1", custom_attributes={"a": 1})
    await hand.accept("b2")
    await hand.end("b2")
    async with world.serving() as call:
        await asyncio.to_thread(_try_all, call.base)


def _try_all(base: str) -> None:
    import schemathesis  # takes half a second, and every process collects this file

    openapi: Any = schemathesis.openapi  # whose types are left open in places
    schema = openapi.from_url(f"{base}/api/v1/openapi.json")
    tried = [_try(result.ok(), base) for result in schema.get_all_operations()]
    assert len(tried) == len(OPERATIONS)
    assert all(tried)


def _try(operation: Any, base: str) -> int:
    """How often an answer was as the document says; it always is, or this raises."""
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi import checks

    conformance = [
        getattr(checks, f"{name}_conformance")
        for name in ("status_code", "content_type", "response_headers", "response_schema")
    ]
    answers: list[int] = []

    @settings(
        max_examples=examples(2),  # of each operation
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    )
    def answers_as_it_says(case: Any) -> None:
        if "bot_id" in case.path_parameters and len(answers) % 2:
            case.path_parameters["bot_id"] = f"b{len(answers) % 4 // 2 + 1}"  # what chance would not find
        response = case.call(base_url=base, headers={"Authorization": f"Token {TOKEN}"})
        case.validate_response(response, checks=conformance)
        answers.append(response.status_code)

    answers_as_it_says()
    return len(answers)
