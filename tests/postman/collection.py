"""A Postman collection of every call of the API, made from the OpenAPI document.

Run from top to bottom, it is one story of two new people and one of the staff. Each request tests its answer, and stores what later
requests need (the id of a verification, a code, tokens, invite codes) in variables of the collection.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

Tree = dict[str, Any]

DESCRIPTION: Final = """\
Every call of Hammer's JSON API in a useful order. Run the whole collection, or send the requests one by one from the top. It needs
demo mode, in which answers show the codes. Between two texts to one number it waits as long as the answers say.

The folder of the staff is left out while the variable `staffNumber` is empty. To run it, create one of the staff by
`flask --app wsgi createsuperuser "+7 900 000-00-00"`, and put that number into the variable.

Each run uses new random numbers for two people, A and B, and deletes both at the end.
"""

VARIABLES: Final = {"staffNumber": "", "ready": "{}"}
"""`ready` holds when each number can get its next text: number -> milliseconds."""
STAFF: Final = "5. Staff"
_WITHOUT_STAFF = 'if (!pm.variables.get("staffNumber")) pm.execution.skipRequest();'
_WAIT = """const ready = JSON.parse(pm.collectionVariables.get("ready"))[pm.variables.replaceIn(NUMBER)] || 0;
setTimeout(() => {}, Math.max(0, ready - Date.now()));"""
_NOTE_WAIT = """const ready = JSON.parse(pm.collectionVariables.get("ready"));
ready[answer.telephone_number] = Date.now() + answer.resend_in * 1000;
pm.collectionVariables.set("ready", JSON.stringify(ready));"""

_CHOOSE_NUMBERS = """\
const number = () => "+7929" + String(Math.floor(Math.random() * 1e7)).padStart(7, "0");
for (const name of ["numberA", "numberB", "numberC", "numberD"]) pm.collectionVariables.set(name, number());
pm.collectionVariables.set("usernameA", "a" + Date.now());"""
_MAKE_WRONG_CODE = """\
const right = pm.collectionVariables.get("code");
pm.collectionVariables.set("wrongCode", String((Number(right) + 1) % 10 ** right.length).padStart(right.length, "0"));"""


@dataclass(frozen=True)
class Step:
    """One request. Everything that is not stated here comes from the document."""

    name: str
    operation: str
    status: int
    body: object = None
    """None means the example of the document. A string is sent unchanged."""
    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    who: str = ""
    """The suffix of the variable with the bearer token, like `A` for `tokenA`. Without it no token is sent."""
    keeps: dict[str, str] = field(default_factory=dict)
    """Variable to set -> property of the answer."""
    problem: str = ""
    """The slug of the expected problem."""
    holds: tuple[str, ...] = ()
    """JavaScript expressions about `answer` that must be true."""
    before: str = ""
    number: str = ""
    """The number that gets a text, where the body does not name it."""

    @property
    def texts(self) -> str:
        """The number that gets a text, or an empty string."""
        body = self.body if isinstance(self.body, dict) else {}
        asks = self.operation in ("signup", "resend_code", "request_number_change") and self.status == 200
        return str(self.number or body.get("telephone_number") or body["username"]) if asks else ""


_ME = {"username": "me"}
_ONE_ENTERED = ('answer.some(text => text.code === "entered")',)
_SIGNED_IN = ('answer["Ваш токен"] === answer.access_token', 'answer["Ваш инвайт код"] === answer.invite_code')
_CODE = {"verification_id": "{{verification}}", "code": "{{code}}"}
_ASKED = {"verification": "verification_id", "code": "Ваш код активации"}
_NUMBER = "telephone_number"
_SERVER = {"url": "http://127.0.0.1:9/webhooks"}
"""Of the machine that the collection is tried on; nothing listens there."""
_SERVER_ID = {"endpoint_id": "{{webhook}}"}
_HAS_SECRET = ('answer.secret.startsWith("whsec_")',)
_SINCE = {"since": "2026-01-01T00:00:00Z"}


def _invite(code: str) -> Tree:
    return {"invite_code": code}


STORY: Final[dict[str, tuple[Step, ...]]] = {
    "1. Sign in": (
        Step("A asks for a code", "signup", 200, {_NUMBER: "{{numberA}}"}, keeps=_ASKED, before=_CHOOSE_NUMBERS),
        Step(
            "A asks for the same code again",
            "resend_code",
            200,
            {"verification_id": "{{verification}}"},
            number="{{numberA}}",
            holds=('answer["Ваш код активации"] === pm.collectionVariables.get("code")',),
        ),
        Step(
            "A mistypes the code",
            "confirm_code",
            401,
            {"verification_id": "{{verification}}", "code": "{{wrongCode}}"},
            problem="wrong-code",
            holds=("answer.attempts_left === 2",),
            before=_MAKE_WRONG_CODE,
        ),
        Step(
            "A signs in",
            "confirm_code",
            200,
            _CODE,
            keeps={"tokenA": "access_token", "refreshA": "refresh_token", "inviteA": "invite_code"},
            holds=(*_SIGNED_IN, "answer.created === true"),
        ),
        Step("The code works once", "confirm_code", 401, _CODE, problem="wrong-code", holds=("answer.attempts_left === 0",)),
        Step("B asks for a code, by the older name", "signup", 200, {"username": "{{numberB}}"}, keeps=_ASKED),
        Step(
            "B signs in by number and code, as demo mode allows",
            "confirm_code",
            200,
            {_NUMBER: "{{numberB}}", "code": "{{code}}"},
            keeps={"tokenB": "access_token", "refreshB": "refresh_token", "inviteB": "invite_code"},
            holds=_SIGNED_IN,
        ),
        Step("Not a number", "signup", 422, {_NUMBER: "abc"}, problem="invalid-fields", holds=("answer.errors.telephone_number",)),
        Step("A number that gets no texts", "signup", 422, {_NUMBER: "+74951234567"}, problem="region-not-served"),
        Step("A field that is not known", "signup", 422, {_NUMBER: "{{numberA}}", "hat": "on"}, problem="invalid-fields"),
        Step("Not JSON", "signup", 400, "{", problem="invalid-request"),
    ),
    "2. The caller": (
        Step("A's profile", "show_user", 200, path=_ME, who="A", holds=('answer.username === ""',)),
        Step("A profile without a token", "show_user", 401, path=_ME, problem="not-signed-in"),
        Step("A, by number", "show_user", 200, path={"username": "{{numberA}}"}, who="A"),
        Step("B is not there for A", "show_user", 404, path={"username": "{{numberB}}"}, who="A", problem="not-found"),
        Step("A chooses a username", "update_user", 200, {"username": "{{usernameA}}"}, path=_ME, who="A"),
        Step("A changes a name", "update_user_by_post", 200, {"first_name": "Анна"}, path={"username": "{{usernameA}}"}, who="A"),
        Step(
            "A replaces all names",
            "replace_user",
            200,
            {"username": "{{usernameA}}", "last_name": "Петрова"},
            path=_ME,
            who="A",
            holds=('answer.first_name === ""', 'answer.last_name === "Петрова"'),
        ),
        Step(
            "B wants the same username",
            "update_user",
            409,
            {"username": "{{usernameA}}"},
            path=_ME,
            who="B",
            problem="username-taken",
        ),
        Step("A sees only A", "list_users", 200, who="A", holds=("answer.length === 1",)),
        Step("A may not make users", "create_user", 403, who="A", problem="not-allowed"),
        Step("A may not see the texts", "list_texts", 403, who="A", problem="not-allowed"),
        Step("All that is stored about A", "export_user", 200, who="A"),
    ),
    "3. Invites": (
        Step("A's own code", "activate_invite_code", 422, _invite("{{inviteA}}"), path=_ME, who="A", problem="own-invite"),
        Step("No such code", "activate_invite_code", 422, _invite("000000"), path=_ME, who="A", problem="unknown-invite"),
        Step(
            "B activates A's code",
            "activate_invite_code",
            200,
            _invite("{{inviteA}}"),
            path=_ME,
            who="B",
            holds=('answer.activated_invite_code === pm.collectionVariables.get("inviteA")',),
        ),
        Step("The same code again changes nothing", "activate_invite_code", 200, _invite("{{inviteA}}"), path=_ME, who="B"),
        Step(
            "Another one is refused", "activate_invite_code", 409, _invite("000000"), path=_ME, who="B", problem="already-activated"
        ),
        Step(
            "A was not invited by A's own guest",
            "activate_invite_code",
            422,
            _invite("{{inviteB}}"),
            path=_ME,
            who="A",
            problem="invite-loop",
        ),
        Step(
            "Users whom A invited",
            "list_invitees",
            200,
            path=_ME,
            who="A",
            holds=("answer.length === 1", 'answer[0].telephone_number === pm.collectionVariables.get("numberB")'),
        ),
        Step("A counts one", "show_user", 200, path=_ME, who="A", holds=("answer.invite_count === 1",)),
    ),
    "4. Devices": (
        Step("A asks for another code", "signup", 200, {_NUMBER: "{{numberA}}"}, keeps=_ASKED),
        Step(
            "A signs in on another device",
            "confirm_code",
            200,
            _CODE,
            keeps={"tokenA2": "access_token"},
            holds=("answer.created === false",),
        ),
        Step(
            "A's devices",
            "list_sessions",
            200,
            who="A",
            keeps={"otherSession": "find(device => !device.current).id"},
            holds=("answer.length === 2",),
        ),
        Step("A ends the other one", "end_session", 204, path={"session_id": "{{otherSession}}"}, who="A"),
        Step("Its token is dead", "show_user", 401, path=_ME, who="A2", problem="not-signed-in"),
        Step("It is not there any more", "end_session", 404, path={"session_id": "{{otherSession}}"}, who="A", problem="not-found"),
        Step("A ends all others", "end_other_sessions", 204, who="A"),
        Step(
            "A's new pair of tokens",
            "refresh",
            200,
            {"refresh_token": "{{refreshA}}"},
            keeps={"tokenA": "access_token", "refreshA": "refresh_token"},
        ),
        Step("The keys that tokens are signed with", "list_keys", 200, holds=("answer.keys.every(key => !key.d)",)),
        Step("Not a refresh token", "refresh", 401, {"refresh_token": "abc"}, problem="not-signed-in"),
    ),
    STAFF: (
        Step("The staff ask for a code", "signup", 200, {_NUMBER: "{{staffNumber}}"}, keeps=_ASKED),
        Step("The staff sign in", "confirm_code", 200, _CODE, keeps={"tokenStaff": "access_token", "inviteStaff": "invite_code"}),
        Step("Users, one page", "list_users", 200, query={"limit": "2"}, who="Staff", holds=("answer.length === 2",)),
        Step("A, searched for", "list_users", 200, query={"q": "{{usernameA}}"}, who="Staff", holds=("answer.length === 1",)),
        Step("More than a page holds", "list_users", 422, query={"limit": "101"}, who="Staff", problem="invalid-fields"),
        Step("What became of texts", "list_texts", 200, query={"limit": "2"}, who="Staff", holds=("answer.length === 2",)),
        Step("Of those to one number", "search_texts", 200, {_NUMBER: "{{staffNumber}}"}, who="Staff", holds=_ONE_ENTERED),
        Step("A user made by hand", "create_user", 201, {_NUMBER: "{{numberC}}", "first_name": "Иван"}, who="Staff"),
        Step("The same once more", "create_user", 409, {_NUMBER: "{{numberC}}"}, who="Staff", problem="telephone-number-taken"),
        Step(
            "A user's profile",
            "show_user",
            200,
            path={"username": "{{numberC}}"},
            who="Staff",
            holds=('answer.telephone_number.includes("·")',),
        ),
        Step("An unknown number", "show_user", 404, path={"username": "+79000000001"}, who="Staff", problem="not-found"),
        Step(
            "A user's name",
            "update_user",
            200,
            {"last_name": "Петров"},
            path={"username": "{{numberC}}"},
            who="Staff",
            holds=('answer.first_name === "Иван"', 'answer.last_name === "Петров"'),
            keeps={"idC": "id"},
        ),
        Step(
            "What an app knows about them",
            "update_user",
            200,
            {"metadata": {"plan": "pro"}},
            path={"username": "{{idC}}"},
            who="Staff",
            holds=('answer.metadata.plan === "pro"',),
        ),
        Step("A user is blocked", "block_user", 200, path={"username": "{{idC}}"}, who="Staff"),
        Step("A user may sign in again", "unblock_user", 200, path={"username": "{{idC}}"}, who="Staff"),
        Step("Staff cannot block themselves", "block_user", 403, path=_ME, who="Staff", problem="not-allowed"),
        Step(
            "Staff cannot activate for others",
            "activate_invite_code",
            403,
            _invite("{{inviteA}}"),
            path={"username": "{{numberC}}"},
            who="Staff",
            problem="not-allowed",
        ),
        Step("A user's invitees", "list_invitees", 200, path={"username": "{{usernameA}}"}, who="Staff"),
        Step("A user is deleted", "delete_user", 204, path={"username": "{{numberC}}"}, who="Staff"),
        Step("The deleted user is not found", "show_user", 404, path={"username": "{{numberC}}"}, who="Staff", problem="not-found"),
        Step(
            "What happened, from the beginning",
            "list_events",
            200,
            query={"limit": "2"},
            who="Staff",
            holds=('pm.response.headers.get("Link").includes("after=")', "answer[0].sequence === 1"),
        ),
        Step("No such place", "list_events", 422, query={"after": "1.1"}, who="Staff", problem="invalid-fields"),
        Step("A server that is told", "create_webhook", 201, _SERVER, who="Staff", keeps={"webhook": "id"}, holds=_HAS_SECRET),
        Step(
            "A server that may not be told",
            "create_webhook",
            422,
            {"url": "http://10.0.0.1/"},
            who="Staff",
            problem="invalid-fields",
        ),
        Step("All of them", "list_webhooks", 200, who="Staff", holds=("answer.length === 1", "!answer[0].secret")),
        Step("One of them", "show_webhook", 200, path=_SERVER_ID, who="Staff", holds=("answer.disabled_at === null",)),
        Step("For fewer types", "update_webhook", 200, {"types": ["user.created"]}, path=_SERVER_ID, who="Staff"),
        Step("For all types", "update_webhook_by_post", 200, {"types": []}, path=_SERVER_ID, who="Staff"),
        Step("A test of it", "test_webhook", 202, path=_SERVER_ID, who="Staff", holds=('answer.message_id.startsWith("msg_")',)),
        Step("What happened lately, once more", "replay_webhook", 202, _SINCE, path=_SERVER_ID, who="Staff"),
        Step("Another secret", "rotate_webhook", 200, path=_SERVER_ID, who="Staff", holds=_HAS_SECRET),
        Step("No posts to it", "disable_webhook", 200, path=_SERVER_ID, who="Staff", holds=('answer.disabled_for === "by hand"',)),
        Step("No test of it either", "test_webhook", 403, path=_SERVER_ID, who="Staff", problem="not-allowed"),
        Step("Posts to it again", "enable_webhook", 200, path=_SERVER_ID, who="Staff"),
        Step("What became of posts", "list_attempts", 200, path=_SERVER_ID, who="Staff"),
        Step("It is removed", "delete_webhook", 204, path=_SERVER_ID, who="Staff"),
        Step("It is not there any more", "show_webhook", 404, path=_SERVER_ID, who="Staff", problem="not-found"),
        Step("The staff sign out", "logout", 204, who="Staff"),
    ),
    "6. Good-bye": (
        Step("B asks once more", "signup", 200, {_NUMBER: "{{numberB}}"}, keeps=_ASKED),
        Step("B signs in once more", "confirm_code", 200, _CODE, keeps={"tokenB": "access_token"}),
        Step("B wants another number", "request_number_change", 200, {_NUMBER: "{{numberD}}"}, who="B", keeps=_ASKED),
        Step(
            "B has another number",
            "confirm_number_change",
            200,
            _CODE | {"end_other_sessions": True},
            who="B",
            holds=('answer.telephone_number === pm.collectionVariables.get("numberD")',),
        ),
        Step("Its code works once", "confirm_number_change", 401, _CODE, who="B", problem="wrong-code"),
        Step("B deletes B", "delete_user", 204, path=_ME, who="B"),
        Step("B's token is dead", "show_user", 401, path=_ME, who="B", problem="not-signed-in"),
        Step("A still counts one", "show_user", 200, path=_ME, who="A", holds=("answer.invite_count === 1",)),
        Step("A asks once more", "signup", 200, {_NUMBER: "{{numberA}}"}, keeps=_ASKED),
        Step("A signs in once more", "confirm_code", 200, _CODE, keeps={"tokenA2": "access_token"}),
        Step("A signs out", "logout", 204, who="A"),
        Step("A's token is dead", "show_user", 401, path=_ME, who="A", problem="not-signed-in"),
        Step("So is the refresh token", "refresh", 401, {"refresh_token": "{{refreshA}}"}, problem="not-signed-in"),
        Step("A deletes A", "delete_user", 204, path=_ME, who="A2"),
    ),
}


def collection(document: Tree) -> Tree:
    """The collection (Postman's format 2.1) of the API that `document` describes."""
    operations = {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }
    variables = {"baseUrl": document["servers"][0]["url"]} | VARIABLES
    return {
        "info": {
            "name": document["info"]["title"],
            "description": DESCRIPTION,
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "variable": [{"key": name, "value": value} for name, value in variables.items()],
        "item": [
            {"name": folder, "item": [_request(step, *operations[step.operation]) for step in steps]}
            | ({"event": [_event("prerequest", _WITHOUT_STAFF)]} if folder == STAFF else {})
            for folder, steps in STORY.items()
        ],
    }


def _request(step: Step, method: str, path: str, operation: Tree) -> Tree:
    for name, value in step.path.items():
        path = path.replace(f"{{{name}}}", value)
    query = "&".join(f"{name}={value}" for name, value in step.query.items())
    request: Tree = {
        "method": method,
        "url": {
            "raw": "{{baseUrl}}" + path + (f"?{query}" if query else ""),
            "host": ["{{baseUrl}}"],
            "path": path.removeprefix("/").split("/"),
            "query": [{"key": name, "value": value} for name, value in step.query.items()],
        },
        "header": [{"key": "Accept-Language", "value": "en"}],
        "auth": {"type": "noauth"},
        "description": "\n\n".join(part for part in (operation.get("summary"), operation.get("description")) if part),
    }
    if step.who:
        token = {"key": "token", "value": f"{{{{token{step.who}}}}}", "type": "string"}
        request["auth"] = {"type": "bearer", "bearer": [token]}
    if "requestBody" in operation:
        example = operation["requestBody"]["content"]["application/json"]["example"]
        body = example if step.body is None else step.body
        raw = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, indent=2)
        request["header"].append({"key": "Content-Type", "value": "application/json"})
        request["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    wait = _WAIT.replace("NUMBER", json.dumps(step.texts)) if step.texts else ""
    events = [("test", _tests(step)), ("prerequest", "\n".join(filter(None, (step.before, wait))))]
    return {
        "name": step.name,
        "request": request,
        "event": [_event(when, script) for when, script in events if script],
    }


def _event(when: str, script: str) -> Tree:
    return {"listen": when, "script": {"type": "text/javascript", "exec": script.split("\n")}}


def _tests(step: Step) -> str:
    lines = [f'pm.test("answers {step.status}", () => pm.response.to.have.status({step.status}));']
    if step.status != 204:
        lines.append("const answer = pm.response.json();")
    if step.problem:
        lines.append(
            f'pm.test("says {step.problem}", () => {{ pm.expect(answer.type).to.eql("/problems/{step.problem}");'
            ' pm.expect(pm.response.headers.get("Content-Type")).to.include("application/problem+json"); });'
        )
    lines += [f"pm.test({json.dumps(truth, ensure_ascii=False)}, () => pm.expect({truth}).to.be.ok);" for truth in step.holds]
    for variable, place in step.keeps.items():
        value = f"answer.{place}" if "(" in place else f"answer[{json.dumps(place, ensure_ascii=False)}]"
        lines.append(f'pm.collectionVariables.set("{variable}", {value});')
    if step.texts:
        lines.append(_NOTE_WAIT)
    return "\n".join(lines)
