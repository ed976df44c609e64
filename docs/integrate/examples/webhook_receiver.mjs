import { appendFileSync, readFileSync } from "node:fs";
import express from "express";
import { Webhook } from "standardwebhooks";

const { WEBHOOK_SECRET, PORT, EVENTS = "events.jsonl" } = process.env;
const webhook = new Webhook(WEBHOOK_SECRET);
const lines = readFileSync(EVENTS, { encoding: "utf8", flag: "a+" }).split("\n"); // "a+": makes the file
const seen = new Set(lines.filter(Boolean).map((line) => JSON.parse(line).id));

const app = express().set("env", "production");
app.post("/webhooks", express.raw({ type: "application/json" }), (request, response) => {
  const id = request.get("webhook-id");
  let event;
  try {
    event = webhook.verify(request.body, request.headers); // `body`: the bytes that were signed, not read as JSON yet
  } catch {
    return response.sendStatus(400);
  }
  if (seen.has(id)) console.warn(`Seen before: ${id}`);
  else appendFileSync(EVENTS, `${JSON.stringify({ id, ...event })}\n`);
  seen.add(id);
  response.sendStatus(204);
});
app.listen(PORT, "127.0.0.1");
