import os
import sqlite3

from flask import Flask, request
from standardwebhooks import Webhook, WebhookVerificationError

WEBHOOK, EVENTS = Webhook(os.environ["WEBHOOK_SECRET"]), os.environ.get("EVENTS", "events.db")
app = Flask(__name__)
with sqlite3.connect(EVENTS) as db:
    db.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT NOT NULL)")


@app.post("/webhooks")
def receive():
    body = request.get_data()  # the bytes that were signed, not read as JSON yet
    try:
        WEBHOOK.verify(body, request.headers)
    except (WebhookVerificationError, ValueError):
        return "", 400
    with sqlite3.connect(EVENTS) as db:  # commits at its end
        insert = "INSERT INTO events VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
        stored = db.execute(insert, (request.headers["webhook-id"], body.decode())).rowcount
    if not stored:
        app.logger.warning("Seen before: %s", request.headers["webhook-id"])
    return "", 204
