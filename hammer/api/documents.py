"""The documents of the API: OpenAPI as JSON and YAML, and two pages to read and try it, ReDoc and Swagger UI.

They load nothing from other hosts: the scripts of the pages come from an installed package, and the content security policy of the
pages forbids everything else.
"""

import json
import secrets
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final, cast

from apispec.yaml_utils import dict_to_yaml
from flask import Blueprint, Flask, Response, current_app, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue
from flask_smorest import Api

from config import Settings
from hammer.api import explanations, posts, schemas, views, webhook_schemas, webhooks
from hammer.api.blueprint import KEY_HEADER, LANGUAGE_HEADER
from hammer.api.problems import PROBLEM_JSON, Problem
from hammer.models import Scope
from hammer.web.access import public
from hammer.web.settings import settings

Tree = dict[str, Any]

DESCRIPTION: Final = (
    "Phone-number login and invite codes. Sign up with a number, confirm the code from the text message, and call everything else "
    "with the access token in the `Authorization` header. Every answer of 400 and above is a problem document (RFC 9457) whose "
    "`type` ends in the slug of the problem, and is the address of a page that explains it. `Accept-Language: ru` or `en` chooses "
    "the language of the sentences; slugs never change. A trailing slash is optional. A request whose answer was lost can be "
    "repeated with its `Idempotency-Key`. Only in demo mode, which is impossible in production, `Ваш код активации` in an answer "
    "shows the code."
)

SCOPES: Final = {
    Scope.CODES_SEND: "Ask for codes for end users, and state their address and device.",
    Scope.USERS_READ: "Read users. Numbers are masked without `users:numbers`.",
    Scope.USERS_WRITE: "Create, change, block and delete users who are not staff, and write their metadata. Answers show the user.",
    Scope.USERS_NUMBERS: "See whole telephone numbers.",
    Scope.INVITES_READ: "Read who activated whose invite code.",
    Scope.EVENTS_READ: "Read what happened, to all users: ids alone.",
    Scope.WEBHOOKS_MANAGE: "Add endpoints that events are posted to, and manage those that the client added.",
}

BUNDLES: Final = ("redoc.js", "swagger_bundle.js", "swagger_style.css")
"""The files that are served from the package with ReDoc and Swagger UI."""
BUNDLES_LIVE_SECONDS: Final = 3600
PARAMETERS: Final[dict[str, Tree]] = {"AcceptLanguage": LANGUAGE_HEADER, "IdempotencyKey": KEY_HEADER, **posts.HEADERS}
_ORDER: Final = ("openapi", "info", "servers", "security", "tags", "paths", "webhooks", "components")
_REASONS: Final = {"413": "too large", "415": "not JSON"}
_METHODS: Final = ("get", "post", "put", "patch", "delete")


class DocumentedApi(Api):
    """flask-smorest, with our problem documents as its errors. There is no default one: `refuses` states each problem of a call."""

    ERROR_SCHEMA = Problem
    DEFAULT_ERROR_RESPONSE_NAME = None


blueprint = Blueprint("documents", __name__)


def init_app(app: Flask) -> None:
    """Registers the blueprints of the API and of its documents."""
    described = DocumentedApi(
        app,
        spec_kwargs={
            "title": settings(app).name,
            "version": app.config["VERSION"],
            "openapi_version": "3.1.0",
            "info": {"description": DESCRIPTION},
            "servers": [{"url": settings(app).public_url}],
            "components": {"securitySchemes": _security_schemes(settings(app).public_url)},
            "security": [{"bearer": []}],
            "webhooks": posts.WEBHOOKS,
            "tags": [{"name": tag, "description": text} for tag, text in views.TAGS.items()],
        },
    )
    for name, parameter in PARAMETERS.items():
        described.spec.components.parameter(name, "header", deepcopy(parameter))
    for name, schema in posts.SCHEMAS.items():
        described.spec.components.schema(name, schema)
    described.register_blueprint(webhooks.blueprint)
    described.register_blueprint(views.well_known)
    app.register_blueprint(blueprint)
    app.register_blueprint(explanations.blueprint)
    app.extensions["hammer.api.documents"] = described.spec


def _security_schemes(public_url: str) -> Tree:
    """How callers authenticate: users with the token of a login, clients with one that they get for their secret."""
    flow = {"tokenUrl": f"{public_url}/oauth/token", "scopes": {scope.value: SCOPES[scope] for scope in Scope}}
    return {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The access token of a user."},
        "client": {"type": "oauth2", "description": "The access token of a client.", "flows": {"clientCredentials": flow}},
    }


def document(app: Flask) -> Tree:
    """The OpenAPI 3.1 document of `app`. Callers must not change it: it is made once."""
    if "hammer.document" not in app.extensions:
        declared = app.extensions["hammer.api.documents"].to_dict()
        tree: Tree = json.loads(json.dumps(declared))  # a tree without shared branches, which YAML would write as anchors
        del tree["components"]["schemas"]["PaginationMetadata"]  # of flask-smorest's own pagination, which we do not use
        _name_operations(tree, app)
        _state_times(tree, settings(app))
        _describe_paths(tree)
        _describe_problems(tree)
        _open_public_calls(tree)
        tree["components"]["schemas"]["ReplayIn"]["example"] = webhook_schemas.REPLAY  # of two ways, which exclude each other
        _give_examples(tree)
        _describe_fields(tree)
        app.extensions["hammer.document"] = {part: tree[part] for part in _ORDER}
    return cast(Tree, app.extensions["hammer.document"])


@blueprint.get("/api/v1/openapi.json")
@public
def openapi_json() -> ResponseReturnValue:
    """The OpenAPI document."""
    return _text(_readable(document(current_app)), "application/json")


@blueprint.get("/api/v1/openapi.yaml")
@public
def openapi_yaml() -> ResponseReturnValue:
    """The OpenAPI document in YAML."""
    if "hammer.yaml" not in current_app.extensions:
        how = {"allow_unicode": True, "sort_keys": False, "width": 120}
        current_app.extensions["hammer.yaml"] = dict_to_yaml(document(current_app), how)
    return _text(current_app.extensions["hammer.yaml"], "application/yaml")


@blueprint.get("/redoc/")
@public
def redoc() -> ResponseReturnValue:
    """A page to read the document (ReDoc)."""
    return _page("redoc")


@blueprint.get("/swagger/")
@public
def swagger() -> ResponseReturnValue:
    """A page to try the calls of the document (Swagger UI)."""
    return _page("swagger")


@blueprint.get(f"/documents/<any({', '.join(repr(name) for name in BUNDLES)}):name>")
@public
def bundle(name: str) -> ResponseReturnValue:
    """A script or stylesheet of the two pages."""
    # Finds the files without importing the package: the import would read all ten megabytes of them into memory.
    package = Path(str(distribution("offapi").locate_file("offapi")))
    return send_from_directory(package, name, max_age=BUNDLES_LIVE_SECONDS)


def _page(name: str) -> Response:
    nonce = secrets.token_urlsafe(16)
    page = Response(render_template(f"documents/{name}.html", nonce=nonce, document=url_for("documents.openapi_json")))
    page.headers["Content-Security-Policy"] = "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{nonce}'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "font-src data:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    page.headers["Cache-Control"] = "no-store"
    return page


def _text(text: str, mimetype: str) -> Response:
    answer = Response(text, mimetype=mimetype)
    answer.cache_control.no_cache = True
    answer.add_etag()
    return cast(Response, answer.make_conditional(request))


def _readable(tree: Tree) -> str:
    return json.dumps(tree, ensure_ascii=False, indent=2) + "\n"


def _operations(tree: Tree) -> list[Tree]:
    return [path[method] for path in tree["paths"].values() for method in _METHODS if method in path]


def _name_operations(tree: Tree, app: Flask) -> None:
    """Names each operation after its view. POST beside PATCH is another way to say the same, for programs that know no PATCH."""
    for rule in app.url_map.iter_rules():
        path = tree["paths"].get(rule.rule.replace("<", "{").replace(">", "}"))
        if path is not None:
            name = rule.endpoint.rpartition(".")[2]
            methods = [method for method in _METHODS if method.upper() in (rule.methods or ())]
            for method in methods:
                path[method]["operationId"] = name
            if {"post", "patch"} <= set(methods):
                path["post"] |= {"operationId": f"{name}_by_post", "deprecated": True}


def _state_times(tree: Tree, settings: Settings) -> None:
    """Writes the configured retention times into the descriptions that name their settings in braces."""
    times = {
        "{events_kept_days}": f"{settings.events_kept / timedelta(days=1):g}",
        "{texts_kept_hours}": f"{settings.texts_kept / timedelta(hours=1):g}",
    }
    for operation in _operations(tree):
        for name, time in times.items():
            operation["description"] = operation.get("description", "").replace(name, time)


def _describe_paths(tree: Tree) -> None:
    for path in tree["paths"].values():
        for parameter in path.setdefault("parameters", []):
            parameter.update(deepcopy(schemas.IN_PATHS[parameter["name"]]))
        path["parameters"].append({"$ref": "#/components/parameters/AcceptLanguage"})


def _open_public_calls(tree: Tree) -> None:
    for operation in _operations(tree):
        operation.setdefault("security", [])


def _describe_fields(tree: Tree) -> None:
    """Gives whole numbers a format. Describes keys that cannot be names in programs as patterns, which generators leave out."""
    for schema in _branches(tree):
        if schema.get("type") in ("integer", ["integer", "null"]):
            schema.setdefault("format", "int32")
        if "properties" in schema:
            fields, required = schema["properties"], schema.get("required", [])
            for name in [name for name in fields if not name.isascii()]:
                schema.setdefault("patternProperties", {})[f"^{name}$"] = fields.pop(name)
                schema["required"] = required = [other for other in required if other != name]


def _branches(tree: Any) -> Iterator[Tree]:
    """Every mapping in the tree."""
    if isinstance(tree, dict):
        yield tree
    for below in list(tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _branches(below)


def _describe_problems(tree: Tree) -> None:
    """Describes each answer of 400 and above by the names of its problems."""
    for operation in _operations(tree):
        for status, response in operation["responses"].items():
            examples = response.get("content", {}).get(PROBLEM_JSON, {}).get("examples")
            if examples:
                reason = _REASONS.get(status)
                response["description"] = ", ".join(f"`{slug}`" for slug in examples) + (f": {reason}" if reason else "")


def _give_examples(tree: Tree) -> None:
    """Gives every body of the document an example, made from the examples of its fields."""
    for operation in _operations(tree):
        for body in (operation.get("requestBody", {}), *operation["responses"].values()):
            for media in body.get("content", {}).values():
                if "examples" not in media:
                    media["example"] = _example(media["schema"], tree["components"]["schemas"])


def _example(schema: Tree, known: Tree) -> Any:
    if "example" in schema:
        return deepcopy(schema["example"])  # YAML would write an anchor for an object that stands at two places
    if "$ref" in schema:
        return _example(known[schema["$ref"].rpartition("/")[2]], known)
    if "items" in schema:
        return [_example(schema["items"], known)]
    return {name: _example(field, known) for name, field in schema["properties"].items()}
