"""Calls Hammer: as this app, or as one of the people who are signed in."""

import os
import threading
import time
import uuid

import requests

HAMMER = os.environ["LOGIN_URL"]  # like https://login.example.com
CLIENT = os.environ["LOGIN_CLIENT_ID"], os.environ["LOGIN_CLIENT_SECRET"]


class Tokens:
    """An access token that is replaced shortly before it ends. A lock, because a refresh token works once."""

    def __init__(self, answer=None):
        self.lock, self.refresh_token, self.ends = threading.Lock(), None, 0
        if answer:
            self.keep(answer)

    def keep(self, answer):
        self.access_token, self.refresh_token = answer["access_token"], answer.get("refresh_token")
        self.ends = time.monotonic() + answer["expires_in"] - 60

    def current(self):
        with self.lock:
            if time.monotonic() > self.ends:
                self.keep(self.ask_refreshed() if self.refresh_token else ask_token())
            return self.access_token

    def ask_refreshed(self):
        answer = send("POST", "/api/v1/auth/refresh/", json={"refresh_token": self.refresh_token})
        answer.raise_for_status()  # 401: the session has ended, and the person has to sign in again
        return answer.json()


def ask_token():
    answer = send("POST", "/oauth/token", auth=CLIENT, data={"grant_type": "client_credentials"})
    if not answer.ok:
        raise requests.HTTPError(answer.text, response=answer)  # its `error_description` says why
    return answer.json()


def send(method, path, **how):
    return requests.request(method, HAMMER + path, timeout=10, **how)


app = Tokens()


def call(method, path, body=None, *, by=app, language="en"):
    headers = {"Authorization": f"Bearer {by.current()}", "Accept-Language": language, "Idempotency-Key": str(uuid.uuid4())}
    answer = send(method, f"/api/v1{path}", json=body, headers=headers)
    if answer.status_code == 401 and answer.json()["type"].endswith("/not-signed-in"):
        by.ends = 0  # ended before its time: the next call gets another token
    return answer
