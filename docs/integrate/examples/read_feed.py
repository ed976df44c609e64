"""Reads the event feed on from where it stopped, and stores each event once. Run it every minute, never twice at the same time."""

import json
import os
import sqlite3

from hammer_api import call

db = sqlite3.connect(os.environ.get("EVENTS", "events.db"))
db.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT NOT NULL)")
db.execute("CREATE TABLE IF NOT EXISTS place (next TEXT NOT NULL)")
events = True
while events:
    [path] = db.execute("SELECT next FROM place").fetchone() or ["/events/"]
    answer = call("GET", path)
    answer.raise_for_status()
    events, link = answer.json(), answer.links.get("next", {"url": path})
    with db:  # one transaction: the place moves on exactly if the events are stored
        rows = [(event["id"], json.dumps(event)) for event in events]
        db.executemany("INSERT INTO events VALUES (?, ?) ON CONFLICT (id) DO NOTHING", rows)
        db.execute("DELETE FROM place")
        db.execute("INSERT INTO place VALUES (?)", [link["url"].removeprefix("/api/v1")])
