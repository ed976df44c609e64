"""A site whose own pages ask for the number and the code. Run: flask --app website run --port 8000"""

import os
import secrets
from contextlib import suppress

import requests
from flask import Flask, redirect, render_template, request, session
from hammer_api import Tokens, call

app = Flask(__name__)
app.config.update(SECRET_KEY=os.environ["SITE_SECRET"], SESSION_COOKIE_SAMESITE="Lax")  # Lax: other sites cannot post our forms
signed_in = {}  # key in the cookie -> (sub, tokens). With several processes: a table, or Redis.


@app.get("/")
def home():
    sub, _ = signed_in.get(session.get("key"), (None, None))
    if sub:
        answer = call("GET", f"/users/{sub}/")
        if answer.status_code != 404:  # the person has deleted themselves
            answer.raise_for_status()
            return render_template("website.html", person=answer.json())
    return render_template("website.html", asks="number", answer={})


@app.post("/number")
def number():
    answer = ask_hammer("/auth/signup/", telephone_number=request.form["typed"])
    if answer.ok:
        session["verification_id"] = answer.json()["verification_id"]
    return render_template("website.html", asks="code" if answer.ok else "number", answer=answer.json()), answer.status_code


@app.post("/code")
def code():
    answer = ask_hammer("/auth/code/", verification_id=session.get("verification_id", ""), code=request.form["typed"])
    if not answer.ok:
        asks = "number" if answer.json().get("attempts_left") == 0 else "code"
        return render_template("website.html", asks=asks, answer=answer.json()), answer.status_code
    tokens = Tokens(answer.json())
    sub = call("GET", "/users/me/", by=tokens).json()["id"]
    session.clear()
    session["key"] = secrets.token_urlsafe()
    signed_in[session["key"]] = sub, tokens
    return redirect("/", 303)


@app.post("/out")
def out():
    _, tokens = signed_in.pop(session.pop("key", None), (None, None))
    if tokens:
        with suppress(requests.RequestException):  # Hammer is away, or has ended the session itself
            call("POST", "/auth/logout/", by=tokens)
    return redirect("/", 303)


def ask_hammer(path, **body):
    person = {"end_user_address": request.remote_addr, "end_user_agent": request.headers.get("User-Agent", "")}
    return call("POST", path, body | person, language=request.headers.get("Accept-Language", "en"))
