import os

import requests
from flask import Flask, request
from markupsafe import Markup

HAMMER, CLIENT = os.environ["LOGIN_URL"], (os.environ["LOGIN_CLIENT_ID"], os.environ["LOGIN_CLIENT_SECRET"])
FORM = Markup(
    '<form method="post" action="{}"><input name="typed" aria-label="{}"><input type="hidden" name="id" value="{}"></form>'
)
app = Flask(__name__)


def call(method, path, token, **body):
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.request(method, f"{HAMMER}/api/v1{path}", json=body or None, headers=headers, timeout=10).json()
    return answer if answer.get("status", 200) < 400 else app.aborter(answer["status"], answer["detail"])


def client_token():
    answer = requests.post(f"{HAMMER}/oauth/token", auth=CLIENT, data={"grant_type": "client_credentials"}, timeout=10)
    return answer.json()["access_token"]


@app.get("/")
def ask_number():
    return FORM.format("/number", "Telephone number", "")


@app.post("/number")
def ask_code():
    person = {"telephone_number": request.form["typed"], "end_user_address": request.remote_addr}
    return FORM.format("/code", "Code", call("POST", "/auth/signup/", client_token(), **person)["verification_id"])


@app.post("/code")
def sign_in():
    signed_in = call("POST", "/auth/code/", client_token(), verification_id=request.form["id"], code=request.form["typed"])
    sub = call("GET", "/users/me/", signed_in["access_token"])["id"]
    return Markup("You are {invite_code}, with the id {id}.").format_map(call("GET", f"/users/{sub}/", client_token()))
