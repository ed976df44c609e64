"""The Postman collection calls everything, expects what the document states, and uses no variable before it is set."""

import json
import re
from typing import Any

import pytest
from flask import Flask

from hammer import api
from hammer.api.problems import PROBLEM_JSON
from tests.postman.collection import STORY, collection

Tree = dict[str, Any]


@pytest.fixture
def document(app: Flask) -> Tree:
    return api.document(app)


def operations(document: Tree) -> dict[str, Tree]:
    """Name -> operation."""
    found = (operation for methods in document["paths"].values() for method, operation in methods.items() if method != "parameters")
    return {operation["operationId"]: operation for operation in found}


def test_it_is_a_collection_that_postman_reads(document: Tree) -> None:
    made = collection(document)
    assert made["info"]["schema"].endswith("/v2.1.0/collection.json")
    assert made["item"]


def test_it_covers_every_call(document: Tree) -> None:
    steps = [step for folder in STORY.values() for step in folder]
    succeeding = {step.operation for step in steps if step.status < 300}
    assert succeeding == set(operations(document))
    assert json.dumps(collection(document)).count('"request":') == len(steps)


def test_it_expects_what_the_document_states(document: Tree) -> None:
    by_name = operations(document)
    for folder in STORY.values():
        for step in folder:
            stated = by_name[step.operation]["responses"][str(step.status)]
            if step.problem:
                assert step.problem in stated["content"][PROBLEM_JSON]["examples"], step.name


def test_it_uses_no_variable_before_it_is_set(document: Tree) -> None:
    made = collection(document)
    known = {variable["key"] for variable in made["variable"]}
    for request in (request for folder in made["item"] for request in folder["item"]):
        scripts = {event["listen"]: "\n".join(event["script"]["exec"]) for event in request["event"]}
        known |= set(re.findall(r'"((?:number|username)\w)"', scripts.get("prerequest", "")))
        known |= set(re.findall(r'collectionVariables.set\("(\w+)"', scripts.get("prerequest", "")))
        assert set(re.findall(r"\{\{(\w+)\}\}", json.dumps(request["request"]))) <= known, request["name"]
        known |= set(re.findall(r'collectionVariables.set\("(\w+)"', scripts["test"]))
