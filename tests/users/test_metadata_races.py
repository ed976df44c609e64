"""Metadata that several callers write at the same moment, on the running application."""

from functools import partial

from sqlalchemy import create_engine, text

from tests.actions import ANNA, BORIS
from tests.serving import Server, at_once


def test_of_parallel_changes_the_last_one_stays_as_a_whole(server: Server) -> None:
    anna, staff = server.sign_in(ANNA), server.sign_in(BORIS)
    engine = create_engine(server.database_url)
    with engine.begin() as connection:
        connection.execute(text("update users set is_staff = true where telephone_number = :number"), {"number": BORIS})

    def change(n: int) -> int:
        body = {"first_name": f"Anna {n}", "metadata": {f"a{n}": n, "b": n}}
        return server.call("PATCH", f"/users/{ANNA}/", body, token=staff["access_token"]).status

    assert set(at_once([partial(change, n) for n in range(40)])) == {200}
    me = server.call("GET", "/users/me/", token=anna["access_token"]).json
    last = me["metadata"]["b"]
    assert (me["metadata"], me["first_name"]) == ({f"a{last}": last, "b": last}, f"Anna {last}")
    with engine.connect() as connection:
        noted = connection.scalar(text("select count(*) from events where kind = 'user-metadata-changed'"))
    engine.dispose()
    assert noted == 40
