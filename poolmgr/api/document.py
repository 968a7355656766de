"""Describes the API: an OpenAPI 3.1 document and a page for people, both made from the table of operations."""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from common.jobs.job import BOT_ID
from poolmgr.api.operation import JSON, PREFIX, Operation, Says, answers

_REFERENCE: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = (
    "Sends bots into meetings. Every request shows a token: `Authorization: Token YOUR_TOKEN`. Every error is JSON with"
    " a `message` that says what to change. docs/api.md tells the same with examples, and how this differs from the API"
    " that the published clients were written for."
)
_ID_PATTERN: Final = f"^{BOT_ID.pattern}$"

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.05rem;margin:0}code,pre{font:0.9em/1.4 ui-monospace,monospace}
section{border:1px solid #d5d9de;border-radius:6px;padding:.8rem 1rem;margin:.8rem 0}p{margin:.3rem 0}
.method{display:inline-block;min-width:4.2rem;font-weight:700;color:#0b57a4}
table{border-collapse:collapse;margin:.4rem 0;width:100%}
td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}
th{font-weight:600;color:#57606a;font-size:.85rem}td:first-child{white-space:nowrap}details{margin:.3rem 0}
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}
section{border-color:#3a4048}.method{color:#6cb2ff}
th{color:#9aa4af}}
"""
_STYLE_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document. Nothing in it depends on the configuration."""
    types = [said.type for operation in operations for said in answers(operation).values()]
    types += [operation.body for operation in operations if operation.body]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = {_name(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "poolmgr", "version": "1", "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Token YOUR_TOKEN`; `Bearer YOUR_TOKEN` is taken as well.",
                }
            },
        },
        "security": [{"token": []}],
    }


def _name(kind: Any) -> str:
    return repr(kind)


def _operation(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    description: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": {
            str(status): _response(status, said, schema_of[_name(said.type)])
            for status, said in answers(operation).items()
        },
    }
    if operation.body:
        content = {"application/json": {"schema": schema_of[_name(operation.body)]}}
        description["requestBody"] = {"required": True, "content": content}
    return description


def _response(status: int, said: Says, schema: Any) -> dict[str, Any]:
    shown = schema if said.media_type == JSON else {"type": "string", "format": "binary"}
    response: dict[str, Any] = {"description": said.what, "content": {said.media_type: {"schema": shown}}}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return response


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"} | ({"pattern": _ID_PATTERN} if name == "bot_id" else {"minLength": 1}),
        }
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    for name, what in operation.headers.items():
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        parameters.append({"name": name, "in": "header", "description": what, "schema": schema})
    for name, schema in _fields(operation.query).items() if operation.query else ():
        what = schema.pop("description", "")
        parameter = {"name": name, "in": "query", "schema": schema} | ({"description": what} if what else {})
        if schema.get("type") == "object":
            parameter |= {"style": "deepObject", "explode": True}
        parameters.append(parameter)
    return parameters


def _fields(query: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    _, components = msgspec.json.schema_components([query])
    return {name: _without_null(schema) for name, schema in components[query.__name__]["properties"].items()}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without null: a query cannot express it."""
    schema = {name: value for name, value in schema.items() if name != "default" or value not in (None, {})}
    kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
    return {**schema, **(kinds[0] if kinds else {})}


def page(document: dict[str, Any]) -> str:
    """The document for people: one HTML page that loads nothing else."""
    sections = [
        _section(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    shapes = [
        f"<details id='{name}'><summary><code>{name}</code></summary>{_shape(schema)}</details>"
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>poolmgr: the HTTP API</title>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<style>{_STYLE}</style></head><body><h1>poolmgr: the HTTP API</h1>"
        f"<p>{_prose(_DESCRIPTION)}</p><p>For programs: <a href='openapi.json'><code>openapi.json</code></a></p>"
        f"{''.join(sections)}<h2>Shapes</h2>{''.join(shapes)}</body></html>"
    )


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"<h2><span class='method'>{method}</span><code>{html.escape(path)}</code></h2>"]
    parts.append(f"<p>{_prose(operation['summary'])}</p>")
    parts += _table(
        (parameter["name"], parameter["in"], _kind(parameter["schema"]), _prose(parameter.get("description", "")))
        for parameter in operation["parameters"]
    )
    if body := operation.get("requestBody"):
        parts.append(f"<p>Body: {_kind(body['content']['application/json']['schema'])}</p>")
    parts.append("<details><summary>Answers</summary>")
    parts += _table(
        (status, " ".join(map(_content, said["content"].items())), _prose(said["description"]))
        for status, said in operation["responses"].items()
    )
    return f"<section>{''.join(parts)}</details></section>"


def _shape(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = _table(
        (name, "required" if name in required else "", _kind(field), _prose(field.get("description", "")))
        for name, field in schema.get("properties", {}).items()
    )
    return f"<p>{_prose(schema.get('description', ''))}</p>{''.join(rows)}"


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """An HTML table; empty without rows. The first cell of a row is a name, the others are HTML."""
    lines = [
        f"<tr><td><code>{html.escape(first)}</code></td>{''.join(f'<td>{cell}</td>' for cell in others)}</tr>"
        for first, *others in rows
    ]
    return [f"<table>{''.join(lines)}</table>"] if lines else []


def _content(item: tuple[str, dict[str, Any]]) -> str:
    media_type, content = item
    return _kind(content["schema"]) if media_type == JSON else f"<code>{html.escape(media_type)}</code>"


def _kind(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words, as HTML."""
    if reference := schema.get("$ref"):
        name = html.escape(reference.rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(html.escape(str(choice)) for choice in schema["enum"])
    limits = ", ".join(f"{word} {schema[name]}" for name, word in _LIMITS.items() if schema.get(name) is not None)
    items = schema.get("items")
    inner = f" of {_kind(items)}" if items else ""
    return f"{schema.get('type', 'anything')}{inner}{f' ({html.escape(limits)})' if limits else ''}"


_LIMITS: Final = {
    "minimum": "from", "maximum": "to", "maxLength": "up to", "maxItems": "up to", "default": "default",
}  # fmt: skip


def _prose(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))
