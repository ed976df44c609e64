"""A bot that signs people in. Your network code calls `reply` with each message of a chat, and sends what it returns."""

from hashlib import blake2b
from ipaddress import IPv6Address

from hammer_api import Tokens, call

ASK = "Send me your telephone number. You will get a code in a text message."
chats = {}  # chat -> what is known of it: `verification_id`, or `sub` and `device_token`. In reality a table.


def reply(chat, text, *, private, language="en"):
    """The bot's answer to a message; None in a group, where everyone could read the code."""
    if not private:
        return None
    known = chats.setdefault(chat, {})
    if "sub" in known:
        answer = call("GET", f"/users/{known['sub']}/", language=language)
        return f"You are signed in. Your invite code is {answer.json()['invite_code']}." if answer.ok else fault(answer)
    if "verification_id" in known and text != "/cancel":
        return enter_code(chat, known, text, language)
    known.pop("verification_id", None)
    return ask_code(chat, known, text, language) if any(map(str.isdigit, text)) else ASK


def ask_code(chat, known, number, language):
    body = {"telephone_number": number, "end_user_address": address(chat), "end_user_agent": "Bot"}
    answer = call("POST", "/auth/signup/", body, language=language)
    if not answer.ok:
        return fault(answer)
    known["verification_id"] = answer.json()["verification_id"]
    return "Now send me the code. Nobody else may see it, and I will never ask you for it first. To stop: /cancel"


def enter_code(chat, known, code, language):
    body = {"verification_id": known["verification_id"], "code": code, "end_user_address": address(chat), "end_user_agent": "Bot"}
    answer = call("POST", "/auth/code/", body, language=language)
    if not answer.ok:
        if answer.json().get("attempts_left") == 0:
            del known["verification_id"]
        return fault(answer)
    tokens = Tokens(answer.json())
    sub = call("GET", "/users/me/", by=tokens).json()["id"]
    call("POST", "/auth/logout/", by=tokens)  # the bot only needed to know who this is
    chats[chat] = {"sub": sub}
    return "You are signed in. Please delete the message with the code."


def address(chat):
    """An address for each chat, since bots do not see those of people: limits by address then count each chat alone."""
    return str(IPv6Address(b"\xfd" + blake2b(str(chat).encode(), digest_size=15).digest()))


def fault(answer):
    problem = answer.json()
    return " ".join(sentence for each in problem.get("errors", {}).values() for sentence in each) or problem["detail"]
