import os

import requests
from flask import Flask, request
from markupsafe import Markup

HAMMER, CLIENT = os.environ["LOGIN_URL"], (os.environ["LOGIN_CLIENT_ID"], os.environ["LOGIN_CLIENT_SECRET"])
FORM = Markup('<form method=post action="{}"><input name=typed aria-label="{}"><input type=hidden name=id value="{}"></form>')
app = Flask(__name__)


def send(method, path, token=None, **how):
    headers = {"Accept-Language": str(request.accept_languages)} | ({"Authorization": f"Bearer {token}"} if token else {})
    answer = requests.request(method, HAMMER + path, headers=headers, timeout=10, **how)
    said = answer.json()
    fault = " ".join(map(" ".join, said.get("errors", {}).values())) or said.get("detail") or said.get("error_description")
    return said if answer.ok else app.aborter(answer.status_code, fault)


def client_token():
    return send("POST", "/oauth/token", auth=CLIENT, data={"grant_type": "client_credentials"})["access_token"]


@app.get("/")
def ask_number():
    return FORM.format("/number", "Telephone number", "")


@app.post("/number")
def ask_code():
    person = {"telephone_number": request.form["typed"], "end_user_address": request.remote_addr}
    return FORM.format("/code", "Code", send("POST", "/api/v1/auth/signup/", client_token(), json=person)["verification_id"])


@app.post("/code")
def sign_in():
    proof = {"verification_id": request.form["id"], "code": request.form["typed"]}
    signed_in = send("POST", "/api/v1/auth/code/", client_token(), json=proof)
    sub = send("GET", "/api/v1/users/me/", signed_in["access_token"])["id"]
    return Markup("You are {invite_code}, with the id {id}.").format_map(send("GET", f"/api/v1/users/{sub}/", client_token()))
