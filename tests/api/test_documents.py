"""The documents of the API are valid, complete and consistent, and their pages load nothing from other hosts."""

import json
import re
from typing import Any

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import hammer
from hammer import api
from hammer.api import documents
from hammer.api.problems import PROBLEM_JSON
from hammer.refusals import Refusal
from hammer.users import names
from hammer.web.statuses import status_of

Tree = dict[str, Any]


@pytest.fixture
def document(client: FlaskClient) -> Tree:
    found: Tree = json.loads(client.get("/api/v1/openapi.json").text)
    return found


def operations(document: Tree) -> list[tuple[str, str, Tree]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    ]


def leaves(refusal: type[Refusal] = Refusal) -> list[type[Refusal]]:
    below = refusal.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [refusal]


@pytest.mark.requirement("API-06")
def test_the_document_is_valid_openapi(document: Tree) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


@pytest.mark.requirement("API-06")
def test_every_route_of_the_api_is_in_the_document(app: Flask, document: Tree) -> None:
    served = {
        (method.lower(), rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("api.", "well_known."))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {(method, path) for method, path, _ in operations(document)}


def test_every_operation_has_a_name_a_tag_and_a_sentence(document: Tree) -> None:
    found = [operation for _, _, operation in operations(document)]
    names = [operation["operationId"] for operation in found]
    assert len(names) == len(set(names)) == 38
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in names)
    known = {tag["name"] for tag in document["tags"]}
    assert all(operation["summary"] and set(operation["tags"]) <= known for operation in found)


@pytest.mark.requirement("API-06")
def test_only_login_and_the_public_keys_need_no_token(document: Tree) -> None:
    strangers = {path for _, path, operation in operations(document) if not operation["security"] or {} in operation["security"]}
    signing_in = {f"/api/v1/auth/{call}/" for call in ("signup", "resend", "code", "refresh")}
    assert strangers == signing_in | {"/.well-known/jwks.json"}
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["security"] == [{"bearer": []}]


def test_every_parameter_of_a_path_is_explained(document: Tree) -> None:
    parameters = [parameter for path in document["paths"].values() for parameter in path.get("parameters", ())]
    language = {"$ref": "#/components/parameters/AcceptLanguage"}
    assert parameters.count(language) == len(document["paths"])
    assert all(parameter["description"] for parameter in parameters if parameter != language)
    assert all(parameter["description"] for parameter in document["components"]["parameters"].values())


def test_a_user_in_a_path_has_an_example_of_each_way_to_name_one(document: Tree) -> None:
    [username, *_] = document["paths"]["/api/v1/users/{username}/"]["parameters"]
    assert set(username["examples"]) == {"oneself", "by id", "by number", "by username"}


def test_every_body_has_an_example_that_its_schema_allows(document: Tree) -> None:
    seen = 0
    for method, path, operation in operations(document):
        for body in (operation.get("requestBody", {}), *operation["responses"].values()):
            for media in body.get("content", {}).values():
                examples = [media["example"]] if "example" in media else [e["value"] for e in media["examples"].values()]
                schema = media["schema"] | {"components": document["components"]}
                for example in examples:
                    OAS31Validator(schema).validate(example)
                    seen += 1
        assert seen, (method, path)
    assert seen > 50


def test_the_russian_keys_are_readable_in_the_document(client: FlaskClient, document: Tree) -> None:
    schemas = document["components"]["schemas"]
    assert set(schemas["SignedInOut"]["patternProperties"]) == {"^Ваш токен$", "^Ваш инвайт код$"}
    assert "demo mode" in schemas["VerificationOut"]["patternProperties"]["^Ваш код активации$"]["description"]
    assert "Ваш токен" in client.get("/api/v1/openapi.json").text
    assert "Ваш токен" in client.get("/api/v1/openapi.yaml").text


def test_no_name_of_a_field_breaks_a_generated_client(document: Tree) -> None:
    for name, schema in document["components"]["schemas"].items():
        names = {*schema["properties"], *schema.get("required", ())}
        assert all(re.fullmatch("[a-z_]+", field) for field in names), name
        assert set(schema.get("required", ())) <= set(schema["properties"]), name


def test_a_post_beside_a_patch_is_deprecated(document: Tree) -> None:
    deprecated = {operation["operationId"] for _, _, operation in operations(document) if operation.get("deprecated")}
    assert deprecated == {"update_user_by_post", "update_webhook_by_post"}


def test_every_call_can_be_refused_for_unknown_parameters_and_by_the_limit_of_requests(document: Tree) -> None:
    for method, path, operation in operations(document):
        for status, slug in (("422", "invalid-fields"), ("429", "too-many-requests"), ("503", "unavailable")):
            if (status, path) != ("422", "/.well-known/jwks.json"):  # it ignores queries, as files do
                assert slug in operation["responses"][status]["content"][PROBLEM_JSON]["examples"], (method, path)


def test_calls_that_need_a_token_can_refuse_it_and_its_owner(document: Tree) -> None:
    """Also a call of users alone: the token of a client is valid there, and not allowed."""
    for method, path, operation in operations(document):
        if operation["security"]:
            for status, slug in (("401", "not-signed-in"), ("403", "not-allowed")):
                assert slug in operation["responses"][status]["content"][PROBLEM_JSON]["examples"], (method, path)


def test_types_of_problems_are_listed_and_other_members_can_come(document: Tree) -> None:
    problem = document["components"]["schemas"]["Problem"]
    assert problem["additionalProperties"] is True
    of_refusals = {f"/problems/{leaf.slug}" for leaf in leaves()}
    assert set(problem["properties"]["type"]["enum"]) == of_refusals | {
        "/problems/method-not-allowed",
        "/problems/internal-server-error",
    }


@pytest.mark.parametrize("name", ["me", "Me", "mE", "ME", "1a", "a b", "a" * 31, ".a"])
def test_what_is_no_username_does_not_match_the_pattern(document: Tree, name: str) -> None:
    pattern = document["components"]["schemas"]["UserChangeIn"]["properties"]["username"]["pattern"]
    assert re.search(pattern, name) is None


@pytest.mark.parametrize("name", ["", "m", "e", "ma", "ne", "em", "M2", "m.", "mee", "men", "a" * 30])
def test_usernames_match_the_pattern(document: Tree, name: str) -> None:
    pattern = document["components"]["schemas"]["UserChangeIn"]["properties"]["username"]["pattern"]
    assert re.search(pattern, name)
    assert names.read({"username": name})["username"] == (name or None)


@pytest.mark.requirement("API-06")
def test_every_refusal_is_in_the_document_with_its_status(document: Tree) -> None:
    stated = {
        (slug, int(status))
        for _, _, operation in operations(document)
        for status, answer in operation["responses"].items()
        for slug in answer.get("content", {}).get(PROBLEM_JSON, {}).get("examples", {})
    }
    assert {(leaf.slug, status_of(leaf)) for leaf in leaves()} | {("invalid-request", 413), ("invalid-request", 415)} == stated


def test_the_headers_of_answers_are_stated(document: Tree) -> None:
    for _, path, operation in operations(document):
        for status, header in (("401", "WWW-Authenticate"), ("429", "Retry-After"), ("503", "Retry-After")):
            if status in operation["responses"]:
                assert header in operation["responses"][status]["headers"], path
    for paged in ("/api/v1/users/", "/api/v1/users/{username}/invitees/", "/api/v1/texts/", "/api/v1/events/"):
        assert "Link" in document["paths"][paged]["get"]["responses"]["200"]["headers"]


def test_json_and_yaml_are_the_same_document(client: FlaskClient, app: Flask, document: Tree) -> None:
    answer = client.get("/api/v1/openapi.yaml")
    assert answer.mimetype == "application/yaml"
    assert yaml.safe_load(answer.text) == document == api.document(app)
    assert not re.search(r"[:-] [&*]id\d", answer.text), "Anchors are hard to read."


def test_the_document_names_our_own_address(document: Tree) -> None:
    assert document["servers"] == [{"url": "http://localhost:5000"}]


def test_the_document_names_our_version(document: Tree) -> None:
    assert document["info"]["version"] == hammer.__version__


def test_every_answer_is_described_by_the_names_of_its_problems(document: Tree) -> None:
    for method, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            for slug in answer.get("content", {}).get(PROBLEM_JSON, {}).get("examples", {}):
                assert f"`{slug}`" in answer["description"], (method, path, status)


@pytest.mark.parametrize("path", ["/api/v1/openapi.json", "/api/v1/openapi.yaml"])
def test_an_unchanged_document_is_answered_with_304(client: FlaskClient, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")


@pytest.mark.parametrize("path", ["/redoc/", "/redoc", "/swagger/", "/swagger"])
@pytest.mark.requirement("WEB-03")
def test_the_pages_load_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    loaded = re.findall(r'(?:src|data-url|<link[^>]*href)="([^"]+)"', answer.text)
    assert len(loaded) > 3
    for address in loaded:
        if address != "data:,":  # the icon: none
            assert address.startswith("/")
            with client.get(address) as found:
                assert found.status_code == 200, address
    assert not re.search(r"<script(?![^>]* src=)", answer.text), "The page holds an inline script."
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|\*|unsafe", policy)


def test_each_page_has_a_nonce_of_its_own(client: FlaskClient) -> None:
    pages = [client.get("/redoc/") for _ in range(2)]
    nonces = [re.search(r"'nonce-([^']+)'", page.headers["Content-Security-Policy"]) for page in pages]
    assert all(nonce and f'content="{nonce[1]}"' in page.text for nonce, page in zip(nonces, pages, strict=True))
    assert len({nonce and nonce[1] for nonce in nonces}) == 2


def test_the_documents_link_to_each_other(client: FlaskClient) -> None:
    for path in ("/redoc/", "/swagger/"):
        page = client.get(path).text
        for other in ("/redoc/", "/swagger/", "/api/v1/openapi.json", "/api/v1/openapi.yaml"):
            assert f'href="{other}"' in page


@pytest.mark.parametrize("name", ["scalar.js", "__init__.py", "..%2f__init__.py", "url.json", ""])
def test_nothing_else_of_the_package_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/documents/{name}").status_code == 404


def test_browsers_can_cache_the_bundles(client: FlaskClient) -> None:
    for name in documents.BUNDLES:
        with client.get(f"/documents/{name}") as answer:
            assert answer.cache_control.max_age == documents.BUNDLES_LIVE_SECONDS
            assert answer.headers["ETag"]
