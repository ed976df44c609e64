"""`/problems/SLUG`: what a kind of problem means and what to do, for those who follow the `type` of a problem document."""

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, jsonify, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.api.problems import KINDS
from hammer.refusals import N_, NotFound
from hammer.web.access import public

EXPLAINED: Final[Mapping[str, tuple[str, str]]] = {
    "invalid-request": (
        N_("The request cannot be read: its body is not a JSON object, or it is too large."),
        N_("Send one short JSON object, with the header Content-Type: application/json."),
    ),
    "invalid-fields": (
        N_("A field or a parameter is missing, malformed or unknown."),
        N_("Read errors in the answer: it says for each field what is wrong."),
    ),
    "region-not-served": (
        N_("The service sends no texts to this number: it does not serve the country, or the number cannot get texts."),
        N_("Ask for a mobile number of a country that the service serves."),
    ),
    "unknown-invite": (
        N_("No user has this invite code."),
        N_("Compare it with the one that was given, or go on without a code."),
    ),
    "own-invite": (
        N_("The invite code belongs to the person who entered it."),
        N_("Enter the code of another person, or go on without a code."),
    ),
    "invite-loop": (
        N_("The owner of the invite code was invited by this person, or by somebody whom this person invited."),
        N_("Enter the code of another person, or go on without a code."),
    ),
    "wrong-code": (
        N_("The one-time code is wrong, expired or used, or belongs to no request."),
        N_("Compare it with the newest text message. When attempts_left is 0, ask for a new code."),
    ),
    "not-signed-in": (
        N_("The access token is missing, or is not valid any more."),
        N_("Exchange the refresh token for a new pair. If that is refused too, sign in again."),
    ),
    "not-allowed": (
        N_("The caller is known, and may not do this."),
        N_("Read detail in the answer. A client may need another scope from the operator."),
    ),
    "not-found": (
        N_("There is nothing at this address, or nothing that the caller may see."),
        N_("Check the address, and the id or name in it."),
    ),
    "already-activated": (
        N_("This person has activated an invite code before. It can be done only once."),
        N_("Go on without a code."),
    ),
    "username-taken": (
        N_("Another user has this username. Upper and lower case make no difference."),
        N_("Ask for another username."),
    ),
    "telephone-number-taken": (
        N_("Another user has this telephone number."),
        N_("Sign in with this number, or ask for another one."),
    ),
    "too-many-requests": (
        N_("A limit is reached: of requests, of texts, or of attempts."),
        N_(
            "Show the detail to the person. After as many seconds as the header Retry-After says, they can try again. A program "
            "tries again only if a person wants it."
        ),
    ),
    "unavailable": (
        N_("The service cannot do this at the moment."),
        N_("Wait as many seconds as the header Retry-After says, and send the request again with the same idempotency key."),
    ),
    "method-not-allowed": (
        N_("The address exists, and does not know this method."),
        N_("Use one of the methods in the header Allow."),
    ),
    "internal-server-error": (
        N_("The service has made a mistake, and has written it into its log."),
        N_("Try again later. If it happens again, tell the operator the X-Request-ID of the answer."),
    ),
}
"""Slug -> what the problem means, and what to do."""

blueprint = Blueprint("problems", __name__)


@blueprint.get("/problems/<slug>/")
@public
def explain(slug: str) -> ResponseReturnValue:
    """A page for browsers, JSON for everyone else. Refuses unknown slugs with `NotFound`."""
    if slug not in KINDS:
        raise NotFound
    meaning, advice = (gettext(sentence) for sentence in EXPLAINED[slug])
    title = gettext(KINDS[slug].title)
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        answer: Response = make_response(render_template("problem.html", slug=slug, title=title, meaning=meaning, advice=advice))
    else:
        answer = jsonify({"type": f"/problems/{slug}", "title": title, "meaning": meaning, "advice": advice})
    answer.vary.add("Accept")
    return answer
