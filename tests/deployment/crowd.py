"""Many people who sign in by the JSON API, again and again, until stdin ends: `python -m tests.deployment.crowd HOST PORT PEOPLE`.

Every other one only asks for a code, and waits for the text. Prints, as JSON, what they were answered and who waits.
"""

import http.client
import json
import sys
import threading
from collections import Counter
from typing import Any

PAUSE_SECONDS = 0.05
"""Between two people: the servers that restart under this load need the processor too."""


class Crowd:
    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.answers: Counter[str] = Counter()
        self.waiting: list[str] = []
        self.over = threading.Event()

    def live(self, place: int) -> None:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        n = place * 100_000
        while not self.over.wait(PAUSE_SECONDS):
            n += 1
            number = f"+7929{n:07d}"
            asked = self._call(connection, "POST", "/auth/signup/", {"telephone_number": number})
            if n % 2:
                if asked:
                    self.waiting.append(number)
                continue
            code = {"verification_id": asked.get("verification_id"), "code": asked.get("Ваш код активации")}
            tokens = self._call(connection, "POST", "/auth/code/", code)
            self._call(connection, "GET", "/users/me/", None, tokens.get("access_token", ""))

    def _call(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: object, token: str = ""
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read()
        except OSError as fault:
            connection.close()
            self.answers[f"{path} {type(fault).__name__}"] += 1
            return {}
        self.answers["fine" if answer.status == 200 else f"{path} {answer.status}"] += 1
        return json.loads(said) if answer.status == 200 else {}


def main(host: str, port: str, people: str) -> None:
    crowd = Crowd(host, int(port))
    threads = [threading.Thread(target=crowd.live, args=(place,)) for place in range(1, int(people) + 1)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    crowd.over.set()
    for thread in threads:
        thread.join()
    json.dump({"answers": crowd.answers, "waiting": crowd.waiting}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
