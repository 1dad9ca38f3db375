"""The OpenAPI 3.1 document of the control API, made from the table of routes and the forms. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from proxy.api.problems import BASE as PROBLEM_BASE
from proxy.api.problems import CONTENT_TYPE, PROBLEMS
from proxy.api.routes import BASE, ROUTES

if TYPE_CHECKING:
    from pydantic import BaseModel

    from proxy.api.call import Route

_REF: Final = "#/components/schemas/{model}"
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "enum": [PROBLEM_BASE + slug for slug in PROBLEMS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def document() -> bytes:
    """As it is served, and stands in `docs/schema/openapi.json`: keys sorted, one line end at the end."""
    models: set[type[BaseModel]] = {one for r in ROUTES for one in (r.answer, r.body, r.query) if one is not None}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    forms = schemas["$defs"]
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Credential Briefcase control API",
            "version": "1",
            "description": "Who may do what is in docs/operators.md, how to use it in docs/api.md.",
        },
        "security": [{"operator": []}],
        "components": {
            "securitySchemes": {"operator": {"type": "http", "scheme": "bearer"}},
            "schemas": {**forms, "Problem": _PROBLEM},
        },
        "paths": _paths(forms),
    }
    return (json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _paths(forms: dict[str, Any]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(BASE + route.path, {})[route.method.lower()] = _operation(route, forms)
    return paths


def _operation(route: Route, forms: dict[str, Any]) -> dict[str, Any]:
    kind = "text/event-stream" if route.stream is not None else "application/json"
    answer = {"type": "string"} if route.stream is not None else _ref(route.answer)
    problem = {
        "description": "A problem (RFC 9457).",
        "content": {CONTENT_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "x-roles": sorted(route.roles),
        "responses": {
            "201" if route.creates else "200": {"description": "Done.", "content": {kind: {"schema": answer}}},
            "default": problem,
        },
    }
    if route.visit is not None:
        operation["security"] = []
    if parameters := [*_in_path(route), *_in_query(route, forms)]:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(route.body)}}}
    return operation


def _in_path(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", route.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _in_query(route: Route, forms: dict[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    form = forms[route.query.__name__]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in form["properties"].items()]


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
