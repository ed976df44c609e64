"""Hammer: phone-number login and invite codes. `create_app` makes the application.

    cli                             flask commands for operators
    auth | api | oauth | admin      blueprints: pages for people | the same flows as JSON | OAuth 2.0 and OpenID Connect for apps |
                                    pages for operators
    web                             tokens, access, request limits, languages, branding, headers, origins, static files, logs,
                                    metrics (also of workers), traces, processes, health, receipts; web.pages: the frame of pages,
                                    CSRF, forms, filters, error pages
    operations                      doctor, retention, gauges, readiness, demo data
    users                           accounts, people, exports, transfers
    login | grants                  login by code, verifications | apps that people sign in to: requests, codes, consents, tokens
    clients | factors               apps of the operator and their secrets | authenticator apps, recovery codes, passkeys
    sessions | invites | webhooks   sessions, revocation, known devices, keys | activation, invite codes, tombstones |
                                    endpoints, deliveries, signatures, event feed
    sms | quotas | acting | events  outbox, gateways, messages | guesses, texts, invite attempts, idempotency | staff who act |
                                    what happened
    models                          every table
    db | codes | outgoing           database, prepared statements, pagination, work queue | one-time codes, invite codes, proofs |
                                    posts to servers of others, and which ones may be reached
    parsing                         phones, characters: what people type
    refusals | clock | measures | tracing  every way a rule can say no | the time | counters and histograms for /metrics |
                                    spans of OpenTelemetry

A module imports from lines below its own only. Packages of one line do not import each other.
"""

__version__ = "0.9.0"  # first, so that the modules imported below can read it

from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, InternalServerError

import config
from hammer import admin, api, auth, cli, oauth
from hammer.db import database
from hammer.grants import logout_notices
from hammer.operations import seals
from hammer.refusals import Refusal
from hammer.sms import outbox
from hammer.web import (
    access,
    branding,
    headers,
    health,
    languages,
    load_shedding,
    logs,
    metrics,
    origins,
    pages,
    processes,
    receipts,
    request_limits,
    static_files,
    tokens,
    traces,
    well_known,
)
from hammer.web.pages.errors import error_page
from hammer.webhooks import deliveries


def create_app(settings: config.Settings | None = None) -> Flask:
    """Makes the application from `settings`, or from the environment. Raises `config.Misconfigured` with every error found."""
    app = Flask(__name__)
    app.config.from_mapping((settings or config.read()).flask(), VERSION=__version__)
    app.url_map.strict_slashes = app.url_map.merge_slashes = False  # the router's redirects trust `Host`
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]
    for module in (
        logs,
        traces,
        metrics,
        load_shedding,
        processes,
        request_limits,
        headers,
        origins,
        static_files,
        database,
        outbox,
        logout_notices,
        deliveries,
        seals,
        languages,
        branding,
        tokens,
        pages,
        api,
        auth,
        oauth,
        admin,
        health,
        receipts,
        well_known,
        cli,
    ):
        module.init_app(app)
    access.public(app.view_functions["static"])
    access.by_endpoint(app)
    for kind in (Refusal, HTTPException, *database.AWAY, InternalServerError):
        app.register_error_handler(kind, _answer)
    return app


def _answer(error: Exception) -> ResponseReturnValue:
    """The answer to an error: in OAuth's form, a problem document for the API, or a page for people."""
    if isinstance(error, database.AWAY):
        error = database.unavailable(error)
    if isinstance(error, Refusal):
        logs.refused(error.slug)
    if oauth.serves():
        return oauth.error(error)
    return api.problem(error) if api.serves() else error_page(error)
