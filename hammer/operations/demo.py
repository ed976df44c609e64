"""Demo data: `fill` adds people with Russian names, valid numbers, realistic invitation trees and a recent history to a development
database."""
# ruff: noqa: SIM905  # a list of quoted names is harder to read

import random
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select

from config import Settings
from hammer import clock, codes
from hammer.db.database import one_at_a_time, transaction
from hammer.models import Referral, User
from hammer.operations import demo_history
from hammer.refusals import NotAllowed

FEW = 10
"""With fewer people, a database counts as almost empty: its user only tried out the first steps."""
SPAN = timedelta(days=200)
"""How long ago the first person joined. The rate of joining grows since then."""
INVITED, AT_ONCE = 0.72, 0.8
"""The share that was invited, and the share of those that activated the code with their first login."""
NAMED, WITH_USERNAME = 0.65, 0.3
"""The shares of people with a name and with a username."""

_OPERATORS = (
    "903 905 906 909 910 912 915 916 917 919 920 921 922 925 926 927 929 931 937 950 951 952 960 961 964 977 981 985 999"
).split()
_WOMEN = (
    "Анна Мария Елена Ольга Наталья Екатерина Анастасия Татьяна Ирина Светлана Юлия Дарья Ксения Виктория Полина Софья Алина "
    "Вера Надежда Людмила Галина Марина Валерия Алиса Гульнара Диляра"
).split()
_MEN = (
    "Александр Сергей Дмитрий Андрей Алексей Максим Иван Михаил Артём Никита Илья Егор Кирилл Павел Роман Владимир Николай "
    "Константин Тимур Руслан Олег Игорь Виктор Фёдор Глеб Ринат"
).split()
_SURNAMES = (
    "Иванов Смирнов Кузнецов Попов Васильев Петров Соколов Михайлов Новиков Фёдоров Морозов Волков Алексеев Лебедев Семёнов "
    "Егоров Павлов Козлов Степанов Николаев Орлов Андреев Макаров Никитин Захаров Зайцев Соловьёв Борисов Яковлев Григорьев "
    "Романов Воробьёв Сергеев Кузьмин Фролов Александров Дмитриев Королёв Гусев Киселёв Ильин Максимов Поляков Сорокин "
    "Виноградов Ковалёв Белов Медведев Антонов Тарасов Жуков Баранов Филиппов Комаров Давыдов Беляев Герасимов Богданов Осипов "
    "Сидоров Матвеев Титов Марков Миронов Крылов Куликов Карпов Власов Мельников Денисов Гаврилов Тихонов Казаков Афанасьев "
    "Галиев Хасанов Сафин Ахметов"
).split()
_LATIN_LETTERS = "a b v g d e e zh z i y k l m n o p r s t u f kh ts ch sh sch  y  e yu ya".split(" ")
_LATIN = str.maketrans(dict(zip("абвгдеёжзийклмнопрстуфхцчшщъыьэюя", _LATIN_LETTERS, strict=True)))


@dataclass(frozen=True)
class Filled:
    """What `fill` added."""

    people: int
    referrals: int
    levels: int
    """Levels of the deepest tree, including its root."""
    events: int
    most_inviting: str
    """The id of the user who invited most."""


def fill(settings: Settings, *, people: int, seed: int, more: bool = False) -> Filled | None:
    """Adds `people` users who invited each other. Returns None if there are `FEW` or more already and not `more` is set.

    In an empty database, the same `seed` makes the same people, numbers, codes and trees; the dates end now. Refuses with
    `NotAllowed` in production: the numbers may belong to real people.
    """
    if settings.env == "production":
        raise NotAllowed
    with transaction() as tx:
        one_at_a_time(tx, "demo")
        existing = tx.execute(select(User.telephone_number, User.invite_code, func.lower(User.username))).all()
        taken = {value for row in existing for value in row}
        if len(existing) >= FEW and not more:
            return None
        rng, now = random.Random(seed + len(taken)), clock.now()  # noqa: S311  # protects nothing
        made, referrals, levels = _generation(rng, people, taken, now)
        tx.execute(insert(User), made)
        if referrals:
            tx.execute(insert(Referral), referrals)
        events = demo_history.add(tx, settings, rng, made, referrals, now)
    star = max(made, key=lambda user: int(user["invite_count"]))
    return Filled(people, len(referrals), levels, events, star["id"])


def _generation(
    rng: random.Random, people: int, taken: set[str | None], now: datetime
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Rows of users and of referrals, and the levels of the deepest tree.

    How much a person invites is drawn from a Pareto distribution: few people invite many, most invite none. Inviters joined before
    the people whom they invited, so invitations form no loop.
    """
    users: list[dict[str, Any]] = []
    referrals: list[dict[str, Any]] = []
    level: list[int] = []
    weights: list[float] = []
    """Cumulative sums, for choosing an inviter by weight."""
    for joined in sorted(now - SPAN * (1 - rng.random() ** 0.5) for _ in range(people)):
        users.append(_person(rng, taken, joined))
        level.append(1)
        if weights and rng.random() < INVITED:
            inviter = bisect(weights, rng.random() * weights[-1])
            later = timedelta(0) if rng.random() < AT_ONCE else timedelta(hours=rng.expovariate(1 / 30))
            ids = {"referee_id": users[-1]["id"], "referrer_id": users[inviter]["id"]}
            referrals.append(ids | {"activated_at": min(joined + later, now)})
            users[inviter]["invite_count"] += 1
            level[-1] = level[inviter] + 1
        weights.append((weights[-1] if weights else 0.0) + min(rng.paretovariate(1.1), 100))
    return users, referrals, max(level)


def _person(rng: random.Random, taken: set[str | None], joined: datetime) -> dict[str, Any]:
    woman = rng.random() < 0.5
    first, last = rng.choice(_WOMEN if woman else _MEN), rng.choice(_SURNAMES) + "а" * woman
    named = rng.random() < NAMED

    def username() -> str:
        first_, last_ = (name.lower().translate(_LATIN) for name in (first, last))
        return f"{first_}.{last_}" if rng.random() < 0.5 else f"{first_}{rng.randrange(10 ** rng.randint(1, 6))}"

    return {
        "id": codes.random_id(),
        "telephone_number": _unused(taken, lambda: f"+7{rng.choice(_OPERATORS)}{rng.randrange(10**7):07}"),
        "invite_code": _unused(taken, lambda: "".join(rng.choices(codes.INVITE_ALPHABET, k=codes.INVITE_LENGTH))),
        "username": _unused(taken, username) if rng.random() < WITH_USERNAME else None,
        "first_name": first if named else "",
        "last_name": last if named else "",
        "date_joined": joined,
        "invite_count": 0,
    }


def _unused(taken: set[str | None], draw: Callable[[], str]) -> str:
    """The first drawn value that is not taken yet. Adds it to `taken`."""
    while (drawn := draw()) in taken:
        pass
    taken.add(drawn)
    return drawn
