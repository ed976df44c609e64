"""Sends a request again when that can help, so that nothing is done twice."""

import random
import time
import uuid

import requests


def send(method, url, *, patience=60, headers=(), **how):
    """The answer to a request. Raises `requests.RequestException` if no answer came within `patience` seconds (less than 120)."""
    headers = {"Idempotency-Key": str(uuid.uuid4()), **dict(headers)}  # the same key in each try
    ends, pause = time.monotonic() + patience, 0.5
    while True:
        try:
            answer = requests.request(method, url, headers=headers, timeout=10, **how)
            if answer.status_code not in (500, 502, 503, 504):
                return answer  # also 429: only a person can decide to wait for so long
            pause = max(pause, float(answer.headers.get("Retry-After", 0)))
            if time.monotonic() + pause > ends:
                return answer
        except (requests.ConnectionError, requests.Timeout):
            if time.monotonic() + pause > ends:
                raise
        time.sleep(pause * random.uniform(1, 1.5))  # not all callers at the same moment
        pause *= 2
