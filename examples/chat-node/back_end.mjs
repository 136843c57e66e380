// The back end of the chat: an ordinary web application of express. It may be restarted at any time.
//
//   npm install && npm start
//
// Trunkline asks it what becomes of each event that a client sends (POST /hook) and does what the answer says.
import { readFileSync } from "node:fs";
import express from "express";
import { Webhook } from "standardwebhooks";

const { PORT = 3000, TRUNKLINE = "http://127.0.0.1:9000" } = process.env;
const CHANNEL = "chat/tea";
const TEXT_MAX = 500;
const config = readFileSync(new URL("trunkline.toml", import.meta.url), "utf8");
const webhook = new Webhook(/secrets = \["(.+?)"\]/.exec(config)[1]);

/** An action of an answer, and the body of a request to REST. */
const publish = (event, data) => ({ channel: CHANNEL, event, data });

/** The client's acknowledgement is this error. */
const error = (code, message) => ({ error: { code, message } });

const isText = (value, max) => typeof value === "string" && value.trim() !== "" && value.trim().length <= max;

function joined(name) {
  if (!isText(name, 20)) return error("name", "A name has 1 to 20 characters.");
  // Trunkline keeps the name and sends it along with all that this session does: nothing has to be remembered here.
  return { state: name.trim(), actions: [{ publish: publish("notice", { text: `${name.trim()} is here` }) }] };
}

function said(name, text) {
  if (!name) return error("join", "Join first.");
  if (!isText(text, TEXT_MAX)) return error("text", `A message has 1 to ${TEXT_MAX} characters.`);
  return { actions: [{ publish: publish("said", { from: name, text: text.trim() }) }] };
}

/** What a client sent and waits for. */
function answered({ event, data, state }) {
  if (event === "join") return joined(data[0]);
  if (event === "say") return said(state, data[0]);
  return error("unknown", `Nobody knows ${event}.`);
}

/** Publishes by REST, once, however often we are told of the same. */
async function tell(id, message) {
  const headers = { "content-type": "application/json", "idempotency-key": `"${id}"` };
  const response = await fetch(`${TRUNKLINE}/v1/messages`, { method: "POST", headers, body: JSON.stringify(message) });
  if (!response.ok) throw new Error(await response.text());
  console.log(`${message.data.text}, ${(await response.json()).results[0].delivered} saw it`);
}

const app = express();
// The signature is of the bytes as they came.
app.post("/hook", express.raw({ type: "application/cloudevents+json" }), async (request, response) => {
  let event;
  try {
    event = webhook.verify(request.body, request.headers);
  } catch {
    return response.status(400).end();
  }
  if (event.type !== "trunkline.session.disconnected") return response.json(answered(event));
  if (event.state) await tell(event.id, publish("notice", { text: `${event.state} has left` }));
  response.json({});
});
const server = app.listen(PORT, "127.0.0.1", () => console.log(`webhooks on http://127.0.0.1:${server.address().port}/hook`));
