// Streams for plain HTTP: npm eventsource, curl -N, fetch.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { EventSource } from "eventsource";
import { cuttable } from "../lib/cuttable.mjs";
import { ours, shared } from "../lib/sut.mjs";
import { api } from "../lib/rest.mjs";

const server = await shared("mqtt", { streamsRetryMs: 50, shards: 2 });
const PATIENCE_MS = 30_000;

async function publish(channel, body, event) {
  const query = new URLSearchParams({ channel, ...(event && { event }) });
  const res = await fetch(`${server.url}/publish?${query}`, { method: "POST", body });
  assert.equal(res.status, 200, await res.clone().text());
  return res.json();
}

/** Resolves when `is()` holds, which is looked at on each call of the function it gives. */
function until(is, what) {
  let look;
  const promise = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not in time: ${what()}`)), PATIENCE_MS);
    look = () => {
      if (is()) {
        clearTimeout(timer);
        resolve();
      }
    };
  });
  return [promise, look];
}

ours("npm eventsource: events by name, data, id", async () => {
  const source = new EventSource(`${server.url}/sse?channel=log/npm`);
  try {
    await once(source, "open");
    const heard = once(source, "say");
    const { position } = await publish("log/npm", '{"t":"hi"}\nthere', "say");
    const [event] = await heard;
    assert.equal(event.data, '{"t":"hi"}\nthere');
    assert.equal(event.lastEventId, position);
  } finally {
    source.close();
  }
});

ours("npm eventsource resumes without loss whenever its connection is cut", async () => {
  const proxy = await cuttable(server);
  const source = new EventSource(`${proxy.url}/sse?channel=log/cut`);
  const seen = [];
  const notices = [];
  let look = () => {};
  source.addEventListener("message", (event) => {
    seen.push(Number(event.data));
    if (seen.length % 10 === 0) proxy.cut();
    look();
  });
  source.addEventListener("trunkline", (event) => notices.push(JSON.parse(event.data)));
  try {
    await once(source, "open");
    for (let ten = 0; ten < 60; ten += 10) {
      // Said while it is away, and all heard before the next cut.
      const [heard, looks] = until(() => seen.length >= ten + 10, () => JSON.stringify(seen));
      look = looks;
      for (let n = ten + 1; n <= ten + 10; n++) await publish("log/cut", String(n));
      await heard;
    }
    assert.deepEqual(seen, Array.from({ length: 60 }, (_, i) => i + 1));
    assert.ok(proxy.count() >= 6, "it was cut");
    assert.ok(notices.every((notice) => notice.recovered !== false), JSON.stringify(notices));
  } finally {
    source.close();
    proxy.close();
  }
});

ours("npm eventsource hears that something is gone", async () => {
  const source = new EventSource(`${server.url}/sse?channel=log/gone`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, "last-event-id": "1-1" } }),
  });
  try {
    const [event] = await once(source, "trunkline");
    assert.equal(JSON.parse(event.data).recovered, false);
  } finally {
    source.close();
  }
});

ours("curl -N: lines as they come, from every protocol", async () => {
  const curl = spawn("curl", ["-sSN", "--max-time", "20", `${server.url}/ndjson?channel=curl/%23`]);
  let text = "";
  const lines = () => text.split("\n").filter((line) => line.includes('"channel"')).map((line) => JSON.parse(line));
  const [three, look] = until(() => lines().length >= 3, () => text);
  const begun = new Promise((resolve) => curl.stdout.on("data", (data) => {
    text += data;
    resolve();
    look();
  }));
  await begun;
  await publish("curl/a", "1");
  assert.equal((await api(server, "POST", "/v1/messages", { channel: "curl/b", event: "say", data: { t: "hi" } })).status, 200);
  await publish("curl/c", Buffer.from([0, 255]));
  await three;
  curl.kill();
  const [one, two, last] = lines();
  assert.deepEqual([one.channel, one.data], ["curl/a", 1]);
  assert.deepEqual([two.event, two.data], ["say", { t: "hi" }]);
  assert.equal(last.data_base64, "AP8=");
});

ours("fetch: long polls, one after the other, lose nothing", async () => {
  const poll = async (query) => {
    const res = await fetch(`${server.url}/poll?channel=log/poll&${query}`);
    assert.equal(res.status, 200);
    return res.json();
  };
  let { position } = await poll("wait=0");
  const writing = (async () => {
    for (let n = 0; n < 40; n++) await publish("log/poll", String(n));
  })();
  const seen = [];
  while (seen.length < 40) {
    const { messages, position: next } = await poll(`after=${position}&limit=7`);
    seen.push(...messages.map((message) => message.data));
    position = next;
  }
  await writing;
  assert.deepEqual(seen, Array.from({ length: 40 }, (_, i) => i));
});
