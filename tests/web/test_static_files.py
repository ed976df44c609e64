"""Static files are cached and compressed."""

import gzip
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

STATIC = Path(__file__).parent.parent.parent / "hammer" / "static"
FILES = sorted(str(file.relative_to(STATIC)) for file in STATIC.rglob("*") if file.is_file())


def address(client: FlaskClient, name: str) -> str:
    found = re.search(rf'"(/static/{re.escape(name)}\?v=\w+)"', client.get("/login/").text)
    assert found
    return found[1]


def test_a_file_can_be_cached_under_its_address(client: FlaskClient) -> None:
    answer = client.get(address(client, "hammer.css"), buffered=True)

    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789", "?v=%00"])
def test_without_the_right_hash_a_file_is_not_cached_for_long(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/static/hammer.css{query}", buffered=True)

    assert answer.status_code == 200
    assert "immutable" not in answer.headers["Cache-Control"]


def test_a_changed_file_has_another_address(app: Flask, client: FlaskClient, tmp_path: Path) -> None:
    style = tmp_path / "hammer.css"
    before, app.static_folder = app.static_folder, str(tmp_path)
    try:
        style.write_text("h1 { color: red }")
        first = address(client, "hammer.css")
        style.write_text("h1 { color: darkred }")
        second = address(client, "hammer.css")
    finally:
        app.static_folder = before

    assert first != second


def test_text_files_are_compressed_for_browsers_that_accept_it(client: FlaskClient) -> None:
    where = address(client, "hammer.css")

    squeezed = client.get(where, headers={"Accept-Encoding": "gzip, br"})
    plain = client.get(where, buffered=True)

    assert (squeezed.headers["Content-Encoding"], squeezed.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert squeezed.mimetype == plain.mimetype == "text/css"
    assert gzip.decompress(squeezed.data) == plain.data
    assert len(squeezed.data) < len(plain.data) / 2


def test_pages_are_not_compressed(client: FlaskClient) -> None:
    answer = client.get("/login/", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/static/", "/static/nowhere.css?v=1", "/static/%00?v=1", f"/static/{'x' * 5000}", "/static/documents"]
)
def test_unknown_files_are_not_found(client: FlaskClient, path: str) -> None:
    assert client.get(path, headers={"Accept-Encoding": "gzip"}).status_code == 404


@pytest.mark.parametrize("name", FILES)
def test_no_static_file_loads_anything_from_another_host(name: str) -> None:
    content = (STATIC / name).read_bytes().replace(b"http://www.w3.org/2000/svg", b"")

    assert not re.search(rb"https?://|url\(|@import", content)
