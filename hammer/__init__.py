"""Hammer: phone-number login and invite codes. The map of the house, and the factory that opens its rooms.

    doors     cli          the operator's commands
              auth         pages for people: phone form -> code form -> profile
              api          the same flows for programs, as JSON, and their documents
              health       is it alive, is it ready
    porch     tokens       who is calling
              limits       from where they call
              languages    in which language we answer
              headers      what every answer says to browsers
              logs         a line for each request
              audience     for whom each route is
    verbs     login        send_code, resend_code, confirm_code
              invites      activate, invitees
              sessions     refresh, end, end_others
              accounts     create, rename, change_number, delete, export
              keeping      prune: what is past its keeping time
              doctor       what is wrong with this installation, and what to do
              demo         people and invitations for a development database
    lean on   verifications  asking for a code, and guessing it
              guesses      how many wrong guesses the world may make
              devices      those that signed in before, and their own lane
              sends        how many texts may be asked for
              tombstones   numbers that activated an invite and then left
              tries        how many invite codes may be tried in vain
              events       what happened, in the same transaction
              texts        what we text, and the outbox it waits in
              counters     units of limits, taken all or none
              gateways     how a text leaves
              models       what we remember
              database     transaction(), the only commit
    ground    phones       what people type -> one canonical number
              codes        drawing codes, reading what people type for them
              refusals     every way a rule may say no
              clock        now()

Calls go down this list, never up, and neighbours do not know each other; only cli also calls another door, to print its document.
"""

from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError

import config
from hammer import api, audience, auth, cli, database, headers, health, languages, limits, logs, texts, tokens
from hammer.refusals import Refusal, Unavailable


def create_app(settings: config.Settings | None = None) -> Flask:
    """The application, set up by `settings` or by the environment. Raises `config.Misconfigured` with all that is wrong."""
    app = Flask(__name__)
    app.config.from_mapping((settings or config.read()).flask())
    app.url_map.strict_slashes = False
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    for room in (logs, headers, database, texts, limits, languages, tokens, api, auth, health, cli):
        room.init_app(app)
    audience.public(app.view_functions["static"])
    audience.audiences(app)
    for fault in (Refusal, HTTPException, OperationalError, PoolTimeout, InternalServerError):
        app.register_error_handler(fault, _answer)
    return app


def _answer(error: Exception) -> ResponseReturnValue:
    """Whatever went wrong, told by the door that was knocked at: a problem document to programs, a page to people."""
    if isinstance(error, (OperationalError, PoolTimeout)):
        error = Unavailable(retry_after=database.BUSY_SECONDS)
    if isinstance(error, Refusal):
        logs.refused(error)
    return api.problem(error) if api.serves() else auth.error_page(error)
