"""The clients: connections that stay open, and the operations that are measured."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.actions import wrong_code

Item = TypeVar("Item")
Code = Callable[[str, str], str]
"""(id of a verification, telephone number) -> its code."""

_OVER_SECONDS = 60
_TRIES = 50
_AGAIN_SECONDS = 0.1


@dataclass
class Person:
    number: str
    token: str = ""
    invite_code: str = ""
    device_token: str = ""
    verification_id: str = ""
    refresh_token: str = ""
    cookie: str = ""
    authorization_code: str = ""


class Connection:
    """One client's connection. `latencies` gathers how long each answer took, in seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: int) -> None:
        self.reader, self.writer = reader, writer
        self.head = (
            f"Host: login.example.com\r\nX-Forwarded-For: 10.1.{place}.7\r\nX-Forwarded-Proto: https\r\nUser-Agent: bench/1\r\n"
        )
        self.latencies: list[float] = []
        self.unavailable = 0
        """Answers 503. The request is sent again."""

    async def call(self, method: str, path: str, body: dict[str, str] | None = None, *, token: str = "", expect: int = 200) -> Any:
        sent = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        _, read = await self.send(method, f"/api/v1{path}", sent, headers, expect=expect)
        return json.loads(read)

    async def send(self, method: str, target: str, body: bytes, headers: dict[str, str], *, expect: int) -> tuple[str, bytes]:
        """The head and the body of an answer, which must have the status `expect`."""
        head = f"{method} {target} HTTP/1.1\r\n{self.head}Content-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        for _ in range(_TRIES):
            began = time.perf_counter()
            self.writer.write(f"{head}\r\n".encode() + body)
            answer = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            length = int(answer.lower().partition("content-length: ")[2].partition("\r\n")[0])
            read = await self.reader.readexactly(length)
            status = int(answer[9:12])
            if status == expect:
                self.latencies.append(time.perf_counter() - began)
                return answer, read
            if status != 503:
                break
            self.unavailable += 1
            await asyncio.sleep(_AGAIN_SECONDS)
        raise RuntimeError(f"{method} {target}: {answer[:12]} {read.decode()}")


@dataclass(frozen=True)
class Operations:
    """What people do, with one connection."""

    code: Code

    async def sign_up(self, at: Connection, person: Person) -> None:
        device = {"device_token": person.device_token} if person.device_token else {}
        answer = await at.call("POST", "/auth/signup/", {"telephone_number": person.number} | device)
        person.verification_id = answer["verification_id"]

    async def sign_in(self, at: Connection, person: Person) -> None:
        await self.sign_up(at, person)
        code = self.code(person.verification_id, person.number)
        answer = await at.call("POST", "/auth/code/", {"verification_id": person.verification_id, "code": code})
        person.token, person.invite_code, person.device_token = (
            answer[name] for name in ("access_token", "invite_code", "device_token")
        )
        person.refresh_token = answer.get("refresh_token", "")

    async def return_as_stranger(self, at: Connection, person: Person) -> None:
        person.device_token = ""
        await self.sign_in(at, person)

    async def guess_wrong(self, at: Connection, person: Person) -> None:
        right = self.code(person.verification_id, person.number)
        body = {"verification_id": person.verification_id, "code": wrong_code(right)}
        await at.call("POST", "/auth/code/", body, expect=401)

    async def look(self, at: Connection, person: Person) -> None:
        await at.call("GET", "/users/me/", token=person.token)

    async def refresh(self, at: Connection, person: Person) -> None:
        answer = await at.call("POST", "/auth/refresh/", {"refresh_token": person.refresh_token})
        person.token, person.refresh_token = answer["access_token"], answer["refresh_token"]

    async def open_profile_page(self, at: Connection, person: Person) -> None:
        await at.send("GET", "/profile/", b"", {"Cookie": person.cookie}, expect=200)

    async def activate(self, at: Connection, person: Person, invite_code: str) -> None:
        await at.call("POST", "/users/me/invite/", {"invite_code": invite_code}, token=person.token)


@dataclass
class Load:
    """The result of a load: how many seconds each answer took, and how many answers were 503."""

    latencies: list[float] = field(default_factory=list)
    unavailable: int = 0


async def _all(
    port: int, connections: int, operation: Callable[[Connection, Item], Awaitable[None]], items: Sequence[Item]
) -> Load:
    waiting = list(reversed(items))

    async def client(place: int) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connection = Connection(reader, writer, place)
        try:
            while waiting:
                await operation(connection, waiting.pop())
        finally:
            writer.close()
        return connection

    async with asyncio.timeout(_OVER_SECONDS):
        used = await asyncio.gather(*(client(place) for place in range(connections)))
    return Load([latency for one in used for latency in one.latencies], sum(one.unavailable for one in used))


def run(port: int, connections: int, operation: Callable[[Connection, Item], Awaitable[None]], items: Sequence[Item]) -> Load:
    """Runs the operation for each item, on this number of parallel connections. Fails after a minute."""
    return asyncio.run(_all(port, connections, operation, items))
