"""The settings of an application."""

from typing import cast

from flask import Flask, current_app

from config import Settings


def settings(app: Flask | None = None) -> Settings:
    """The settings of `app`, or of the application that serves this request."""
    return cast(Settings, (app or current_app).config["SETTINGS"])
