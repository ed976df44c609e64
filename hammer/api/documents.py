"""The documents of the API: OpenAPI as JSON and YAML."""

from flask import Flask


def init_app(app: Flask) -> None:
    """To be opened."""
