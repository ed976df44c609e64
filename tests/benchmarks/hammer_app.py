"""Hammer with every rule of production, and with limits so high that the load does not reach them.

Texts are queued and stay in the outbox: another process would send them.
"""

from dataclasses import replace

from flask import Flask

import config
from hammer import create_app
from tests.benchmarks import as_deployed

PUBLIC_URL = "https://login.example.com"
ENVIRONMENT = {
    "HAMMER_ENV": "development",
    "HAMMER_DEMO": "off",
    "SECRET_KEY": "only for benchmarks, 32 bytes and more of it",
    "HAMMER_PUBLIC_URL": PUBLIC_URL,
    "HAMMER_PROXY_HOPS": "1",
    "HAMMER_REGIONS": "RU",
    "HAMMER_RESEND_SECONDS": "0",
    "HAMMER_SENDS_PER_NUMBER_DAY": "10000",
    "HAMMER_SENDS_PER_PREFIX_HOUR": "100000",
    "HAMMER_SENDS_PER_ADDRESS_HOUR": "100000",
    "HAMMER_SENDS_PER_HOUR": "10000000",
    "HAMMER_GUESS_BUDGETS": "100000000,100000000,100000000",
}


def settings() -> config.Settings:
    """Settings of production, from this environment. They are replaced here because `config` refuses gateways that send nothing."""
    return replace(config.read(), env="production", sms_url="memory://", sms_threads=0)


def settings_for(url: str) -> config.Settings:
    """The same settings with another database."""
    return replace(settings(), database_url=url)


def make() -> Flask:
    """The WSGI application."""
    return as_deployed(create_app(settings()))
