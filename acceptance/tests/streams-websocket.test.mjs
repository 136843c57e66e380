// Streams in WebSockets: npm ws, and a browser's own WebSocket.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after } from "node:test";
import WebSocket from "ws";
import { browser } from "../lib/browser.mjs";
import { cuttable } from "../lib/cuttable.mjs";
import { Inbox } from "../lib/mqtt-clients.mjs";
import { within } from "../lib/raw.mjs";
import { api } from "../lib/rest.mjs";
import { REFERENCE, ours, shared, start } from "../lib/sut.mjs";

const server = await shared("mqtt", { shards: 2 });
const chromium = REFERENCE ? null : await browser();
after(() => chromium?.close());

const publish = async (at, channel, body) => {
  const res = await fetch(`${at}/publish?channel=${encodeURIComponent(channel)}`, { method: "POST", body });
  assert.equal(res.status, 200);
};

const wsUrl = (url, query = "") => `${url.replace("http", "ws")}/ws${query}`;

/** A client that says and hears events. */
function client(url) {
  const socket = new WebSocket(url, ["cloudevents.json"]);
  const heard = new Inbox();
  socket.on("message", (data, isBinary) => {
    assert.equal(isBinary, false);
    const event = JSON.parse(data);
    assert.equal(event.specversion, "1.0");
    heard.put(event);
  });
  return {
    socket,
    say: (id, type, subject, more = {}) =>
      socket.send(JSON.stringify({ specversion: "1.0", id, source: "/js", type: `trunkline.channel.${type}`, subject, ...more })),
    /** The next event of this type; those before it are passed over. */
    async next(type) {
      for (;;) {
        const event = await heard.next();
        if (event.type === `trunkline.${type}`) return event;
      }
    },
  };
}

ours("npm ws: subscribes, publishes, hears what others publish", async () => {
  const { socket, say, next } = client(wsUrl(server.url));
  await next("stream.opened");
  assert.equal(socket.protocol, "cloudevents.json");
  say("1", "subscribe", "log/js");
  assert.equal((await next("channel.subscribed")).answers, "1");
  await publish(server.url, "log/js", '{"a":1}');
  const message = await next("channel.message");
  assert.deepEqual([message.subject, message.data], ["log/js", { a: 1 }]);
  say("2", "publish", "log/js", { data: [2], event: "say" });
  const own = await next("channel.message");
  assert.deepEqual([own.event, own.data], ["say", [2]]);
  socket.close();
  await once(socket, "close");
});

ours("npm ws: whoever comes back by its last position loses nothing, however often its connection is cut", async () => {
  const proxy = await cuttable(server);
  const seen = [];
  let position;
  const say = async (from, to) => {
    for (let n = from; n <= to; n++) await publish(server.url, "log/js-cut", String(n));
  };
  try {
    for (let ten = 10; ten <= 60; ten += 10) {
      await say(ten - 9, ten - 5);
      const query = position ? `&after=${position}` : "&history=100";
      const socket = new WebSocket(wsUrl(proxy.url, `?channel=log/js-cut${query}`), ["cloudevents.json"]);
      socket.on("error", () => {});
      socket.on("message", (data) => {
        const event = JSON.parse(data);
        assert.notEqual(event.type, "trunkline.channel.lost");
        if (event.type !== "trunkline.channel.message") return;
        seen.push(event.data);
        position = event.position;
        if (seen.length === ten) proxy.cut();
      });
      const closed = once(socket, "close");
      // Some are said while it is away, some while it comes or is there, and all are heard before the next cut.
      await say(ten - 4, ten);
      await within(closed, 30_000, `cut: ${seen}`);
    }
    assert.deepEqual(seen, Array.from({ length: 60 }, (_, i) => i + 1));
    assert.equal(proxy.count(), 6);
  } finally {
    proxy.close();
  }
});

ours("npm ws: whoever the back end ends is told why", async () => {
  const { socket, next } = client(wsUrl(server.url, "?channel=why-js"));
  await next("stream.opened");
  const closed = once(socket, "close");
  assert.deepEqual((await api(server, "DELETE", "/v1/sessions?channel=why-js&reason=too%20loud")).json, { count: 1 });
  const [code, reason] = await closed;
  assert.deepEqual([code, String(reason)], [4500, "too loud"]);
});

ours("npm ws: a server that stops says that its clients should come back", async (t) => {
  const stopping = await start("mqtt", { drainMs: 0 });
  t.after(() => stopping.stop());
  const { socket, next } = client(wsUrl(stopping.url, "?channel=a"));
  await next("stream.opened");
  const closed = once(socket, "close");
  await stopping.stop();
  const [code] = await closed;
  assert.equal(code, 4002);
});

ours("Chromium's WebSocket hears and says events", async (t) => {
  const page = await chromium.page("<!doctype html>");
  const listed = await start("mqtt", { streamsCorsOrigins: [page.origin] });
  t.after(() => listed.stop());
  const heard = await page.run(`new Promise((resolve, reject) => {
    const socket = new WebSocket("${wsUrl(listed.url, "?channel=log/page")}", "cloudevents.json");
    socket.onerror = () => reject(new Error("refused"));
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "trunkline.stream.opened")
        socket.send(JSON.stringify({ specversion: "1.0", id: "1", source: "/page", type: "greeting", subject: "log/page", data: { t: "hi" } }));
      if (event.type === "trunkline.channel.message") resolve([event.event, event.data]);
    };
  })`);
  assert.deepEqual(heard, ["greeting", { t: "hi" }]);
});
