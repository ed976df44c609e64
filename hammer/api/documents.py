"""What describes the API: OpenAPI as JSON and YAML, a Postman collection, and two pages to read and try it, ReDoc and Swagger UI.

Nothing of it asks another host for anything: the pages' scripts come from an installed package, and their policy forbids the rest.
"""

import json
import secrets
from copy import deepcopy
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final, cast

from apispec.yaml_utils import dict_to_yaml
from flask import Blueprint, Flask, Response, current_app, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue

from hammer.api import postman, schemas
from hammer.audience import public

Tree = dict[str, Any]

BUNDLES: Final = ("redoc.js", "swagger_bundle.js", "swagger_style.css")
"""What is served of the package that carries ReDoc and Swagger UI."""
BUNDLES_LIVE_SECONDS: Final = 3600
_ORDER: Final = ("openapi", "info", "servers", "tags", "paths", "components")
_METHODS: Final = ("get", "post", "put", "patch", "delete")

blueprint = Blueprint("documents", __name__)


def init_app(app: Flask) -> None:
    """Serves the documents of `app`."""
    app.register_blueprint(blueprint)


def document(app: Flask) -> Tree:
    """The OpenAPI 3.1 document of `app`, made once from the schemas and the blueprint. Not to be changed."""
    if "hammer.document" not in app.extensions:
        made = app.extensions["hammer.api"].spec.to_dict()
        tree: Tree = json.loads(json.dumps(made))  # a tree without shared branches, which YAML would draw as anchors
        _name_operations(tree, app)
        _describe_paths(tree)
        _give_examples(tree)
        app.extensions["hammer.document"] = {part: tree[part] for part in _ORDER}
    return cast(Tree, app.extensions["hammer.document"])


def collection(app: Flask) -> Tree:
    """The Postman collection of `app`: every call of its document in the order in which a tester would make them."""
    return postman.collection(document(app))


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


@blueprint.get("/api/v1/postman.json")
@public
def postman_json() -> ResponseReturnValue:
    """The Postman collection."""
    return _text(_readable(collection(current_app)), "application/json")


@blueprint.get("/redoc/")
@public
def redoc() -> ResponseReturnValue:
    """The document to read."""
    return _page("redoc")


@blueprint.get("/swagger/")
@public
def swagger() -> ResponseReturnValue:
    """The document to try."""
    return _page("swagger")


@blueprint.get(f"/documents/<any({', '.join(repr(name) for name in BUNDLES)}):name>")
@public
def bundle(name: str) -> ResponseReturnValue:
    """A script or stylesheet of the two pages."""
    # Its files alone: an import would read all ten megabytes of them into memory.
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
            "img-src 'self' data:",  # ReDoc asks another host for its makers' mark: that is refused here, before it leaves
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


def _name_operations(tree: Tree, app: Flask) -> None:
    """Each operation after its view; where one view serves two methods, with the method behind."""
    for rule in app.url_map.iter_rules():
        path = tree["paths"].get(rule.rule.replace("<", "{").replace(">", "}"), {})
        if rule.endpoint.startswith("api."):
            name = rule.endpoint.removeprefix("api.")
            methods = [method for method in _METHODS if method.upper() in (rule.methods or ())]
            for method in methods:
                path[method]["operationId"] = name if len(methods) == 1 else f"{name}_{method}"


def _describe_paths(tree: Tree) -> None:
    for path in tree["paths"].values():
        for parameter in path.get("parameters", ()):
            parameter.update(deepcopy(schemas.IN_PATHS[parameter["name"]]))


def _give_examples(tree: Tree) -> None:
    """Every body of the document gets an example, put together from those of its fields."""
    operations = (path[method] for path in tree["paths"].values() for method in _METHODS if method in path)
    for operation in operations:
        for body in (operation.get("requestBody", {}), *operation["responses"].values()):
            for media in body.get("content", {}).values():
                if "examples" not in media:
                    media["example"] = _example(media["schema"], tree["components"]["schemas"])


def _example(schema: Tree, known: Tree) -> Any:
    if "$ref" in schema:
        return _example(known[schema["$ref"].rpartition("/")[2]], known)
    if "example" in schema:
        return schema["example"]
    if "items" in schema:
        return [_example(schema["items"], known)]
    return {name: _example(field, known) for name, field in schema["properties"].items()}
