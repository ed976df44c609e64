"""The settings of the application that serves the present request."""

from typing import cast

from flask import current_app

from config import Settings


def settings() -> Settings:
    """The settings of the application that serves this request."""
    return cast(Settings, current_app.config["SETTINGS"])
