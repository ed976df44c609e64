"""Hammer: phone-number login and invite codes. The map of the house, and the factory that opens its rooms.

    doors     cli          the operator's commands
              auth         pages for people: phone form -> code form -> profile
              api          the same flows for programs, as JSON, and their documents
              receipts     what gateways tell of texts
              health       is it alive, is it ready, what goes on
              well_known   what every site is asked for: its icon, robots.txt, security.txt
    porch     tokens       who is calling
              limits       from where they call, and how often
              languages    in which language we answer
              headers      what every answer says to browsers
              files        how long browsers may keep our styles and scripts
              logs         a line for each request
              metrics      how long requests took, and figures as Prometheus reads them
              audience     for whom each route is
              statuses     the HTTP status of each refusal
    verbs     login        send_code, resend_code, confirm_code
              invites      activate, invitees
              sessions     refresh, end, end_others
              accounts     create, rename, change_number, delete
              exports      export
              keys         rotate, and which keys sign and are believed
              keeping      prune: what is past its keeping time
              doctor       what is wrong with this installation, and what to do
              vitals       what goes on, in figures
              demo         people and invitations for a development database
    lean on   people       find one, a profile, and everyone
              verifications  asking for a code, and guessing it
              endings      the end of sessions
              readiness    whether the database takes what is written
              guesses      how many wrong guesses the world may make
              devices      those that signed in before, and their own lane
              sends        how many texts may be asked for
              idempotency  requests that are repeated, and what the first one got
              tombstones   numbers that activated an invite and then left
              tries        how many invite codes may be tried in vain
              events       what happened, in the same transaction
              texts        the outbox that texts wait in, and who carries them
              counters     units of limits, taken all or none
              gateways     how a text leaves
              statements   what is sent so often that it stands ready
              models       what we remember
              database     transaction(), the only commit
              postgresql   that nobody waits long for a server that is away
    ground    invite_codes  the invite code in what people paste
              phones       what people type -> one canonical number
              codes        drawing codes, reading one-time codes that people type
              words        what a text says
              lists        a page of a list, and where the next one begins
              addresses    whom the limits of an address count
              refusals     every way a rule may say no
              clock        now()
              characters   what people type, in plain characters

Calls go down this list, never up, and neighbours do not know each other; only cli also calls another door, to print its document.
"""

from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, InternalServerError

import config
from hammer import (
    api,
    audience,
    auth,
    cli,
    database,
    files,
    headers,
    health,
    languages,
    limits,
    logs,
    metrics,
    receipts,
    texts,
    tokens,
    well_known,
)
from hammer.refusals import Refusal


def create_app(settings: config.Settings | None = None) -> Flask:
    """The application, set up by `settings` or by the environment. Raises `config.Misconfigured` with all that is wrong."""
    app = Flask(__name__)
    app.config.from_mapping((settings or config.read()).flask())
    app.url_map.strict_slashes = app.url_map.merge_slashes = False  # no redirects of the router's own, which trust `Host`
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.ensure_sync = lambda func: func  # type: ignore[method-assign]  # no view here is a coroutine; Flask asks at each call
    for room in (
        logs,
        metrics,
        limits,
        headers,
        files,
        database,
        texts,
        languages,
        tokens,
        api,
        auth,
        health,
        receipts,
        well_known,
        cli,
    ):
        room.init_app(app)
    audience.public(app.view_functions["static"])
    audience.audiences(app)
    for fault in (Refusal, HTTPException, *database.AWAY, InternalServerError):
        app.register_error_handler(fault, _answer)
    return app


def _answer(error: Exception) -> ResponseReturnValue:
    """Whatever went wrong, told by the door that was knocked at: a problem document to programs, a page to people."""
    if isinstance(error, database.AWAY):
        error = database.unavailable(error)
    if isinstance(error, Refusal):
        logs.refused(error)
    return api.problem(error) if api.serves() else auth.error_page(error)
