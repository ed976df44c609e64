"""Many people who sign in by the JSON API, again and again, until stdin ends:
`python -m tests.deployment.crowd HOST PORT PEOPLE [NUMBER OF THE FIRST]`.

Every other one only asks for a code, and waits for the text. The others sign in, read their profile and activate the invite code of
the one before them; where they are answered 503 they ask again, with the same `Idempotency-Key`. Prints, as JSON, what they were
answered and when, who signed in, who activated what, and who waits.
"""

import http.client
import json
import secrets
import sys
import threading
import time
from collections import Counter
from typing import Any

PAUSE_SECONDS = 0.05
"""Between two people, and before somebody asks again: the servers that restart under this load need the processor too."""
ASK_AGAIN = (429, 503)


class Crowd:
    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.answers: Counter[str] = Counter()
        self.moments: list[tuple[float, str, int]] = []
        """When an answer arrived (by the monotonic clock of the machine), to what, and its status."""
        self.waiting: list[str] = []
        self.signed_in: dict[str, str] = {}
        """Number -> its own invite code."""
        self.activated: dict[str, str] = {}
        """Number -> the invite code that it activated."""
        self.over = threading.Event()

    def live(self, place: int) -> None:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        n, friend = place * 100_000, ""
        while not self.over.wait(PAUSE_SECONDS):
            n += 1
            number = f"+7929{n:07d}"
            status, asked = self._call(connection, "POST", "/auth/signup/", {"telephone_number": number})
            if status != 200:
                continue
            if n % 2:
                self.waiting.append(number)
            else:
                friend = self._sign_in(connection, number, asked, friend)

    def _sign_in(self, connection: http.client.HTTPConnection, number: str, asked: dict[str, Any], friend: str) -> str:
        """Returns the invite code of this person, or that of the one before if there was no answer."""
        code = {"verification_id": asked.get("verification_id"), "code": asked.get("Ваш код активации")}
        status, tokens = self._insist(connection, "/auth/code/", code)
        if status != 200:
            return friend
        token = tokens["access_token"]
        self.signed_in[number] = tokens["invite_code"]
        self._call(connection, "GET", "/users/me/", None, token)
        if friend and self._insist(connection, "/users/me/invite/", {"invite_code": friend}, token)[0] == 200:
            self.activated[number] = friend
        return str(tokens["invite_code"])

    def _insist(
        self, connection: http.client.HTTPConnection, path: str, body: object, token: str = ""
    ) -> tuple[int, dict[str, Any]]:
        key = secrets.token_hex(16)
        said = self._call(connection, "POST", path, body, token, key)
        while said[0] in ASK_AGAIN and not self.over.wait(PAUSE_SECONDS):
            said = self._call(connection, "POST", path, body, token, key)
        return said

    def _call(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: object, token: str = "", key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """The status, 0 if there was no answer, and what the answer says if all is well."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        headers |= {"Idempotency-Key": f'"{key}"'} if key else {}
        try:
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read()
        except OSError as fault:
            connection.close()
            self.answers[f"{path} {type(fault).__name__}"] += 1
            return 0, {}
        self.moments.append((time.monotonic(), path, answer.status))
        self.answers["fine" if answer.status == 200 else f"{path} {answer.status}"] += 1
        return answer.status, json.loads(said) if answer.status == 200 else {}


def main(host: str, port: str, people: str, first: str = "1") -> None:
    crowd = Crowd(host, int(port))
    threads = [threading.Thread(target=crowd.live, args=(int(first) + n,)) for n in range(int(people))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    crowd.over.set()
    for thread in threads:
        thread.join()
    said = {name: getattr(crowd, name) for name in ("answers", "moments", "waiting", "signed_in", "activated")}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
