// Sessions, channels, presence, subscriptions, and the node itself through REST.
import assert from "node:assert/strict";
import { ours, REFERENCE, shared, start } from "../lib/sut.mjs";
import { ask, collect, connected, next, settled } from "../lib/clients.mjs";
import { joined } from "../lib/raw.mjs";
import { api, assertProblem, pages } from "../lib/rest.mjs";

const server = REFERENCE ? {} : await shared("acceptance", { shards: 4 });
let unique = 0;
const name = (word) => `${word}${process.pid}x${++unique}`;
const enc = encodeURIComponent;

ours("GET /v1/sessions/{id}: user, namespace, transport, protocol, rooms", async (t) => {
  const user = name("user");
  const socket = await connected(t, server, "/chat", { auth: { user }, transports: ["websocket"] });
  const room = name("r");
  await ask(socket, "join", room);
  const { status, json } = await api(server, "GET", `/v1/sessions/${enc(socket.id)}`);
  assert.equal(status, 200);
  assert.deepEqual([json.id, json.connected, json.user, json.namespace, json.transport, json.protocol], [socket.id, true, user, "/chat", "websocket", "socketio/5"]);
  assert.ok(json.subscriptions.includes(`chat/${room}`), JSON.stringify(json));
  assert.match(json.remote, /^127\.0\.0\.1:\d+$/);
});

ours("GET /v1/sessions: by user, by channel, all by pages without holes or doubles", async (t) => {
  const user = name("user");
  const room = name("r");
  const sockets = await Promise.all(Array.from({ length: 25 }, (_, i) => connected(t, server, "/chat", { auth: i < 9 ? { user } : {} })));
  await Promise.all(sockets.slice(5, 20).map((s) => ask(s, "join", room)));
  const ids = (list) => list.map((s) => s.id).sort();
  assert.deepEqual(ids(await pages(server, `/v1/sessions?user=${user}`, 4)), ids(sockets.slice(0, 9)));
  assert.deepEqual(ids(await pages(server, `/v1/sessions?channel=${enc(`chat/${room}`)}`, 4)), ids(sockets.slice(5, 20)));
  const all = ids(await pages(server, "/v1/sessions", 7));
  assert.equal(new Set(all).size, all.length);
  for (const s of sockets) assert.ok(all.includes(s.id));
});

ours("a session that ended is 404 and in no list", async (t) => {
  const socket = await connected(t, server, "/chat");
  const { id } = socket;
  const keep = socket.io.socket("/custom", {});
  await next(keep, "auth");
  socket.disconnect();
  await settled(keep);
  assertProblem(assert, await api(server, "GET", `/v1/sessions/${enc(id)}`), 404, "not-found");
  assert.ok(!(await pages(server, "/v1/sessions", 1000)).some((s) => s.id === id));
});

ours("DELETE /v1/sessions/{id}: io server disconnect, final; other namespaces go on; a second time 404", async (t) => {
  const socket = await connected(t, server, "/chat");
  const other = socket.io.socket("/custom", {});
  await next(other, "auth");
  const { id } = socket;
  const gone = next(socket, "disconnect");
  assert.deepEqual((await api(server, "DELETE", `/v1/sessions/${enc(id)}`)).json, { count: 1 });
  assert.deepEqual((await gone).slice(0, 1), ["io server disconnect"]);
  assert.equal(socket.active, false);
  await settled(other);
  assertProblem(assert, await api(server, "DELETE", `/v1/sessions/${enc(id)}`), 404, "not-found");
});

ours("DELETE with reconnect=true closes the transport, the client comes back", async (t) => {
  const socket = await connected(t, server, "/chat");
  const gone = next(socket, "disconnect");
  const back = gone.then(() => next(socket, "auth"));
  assert.equal((await api(server, "DELETE", `/v1/sessions/${enc(socket.id)}?reconnect=true`)).status, 200);
  assert.match((await gone)[0], /^transport (close|error)$/);
  await back;
});

ours("DELETE with reconnect=true and a reason: the client finds it in the close event", async (t) => {
  const socket = await connected(t, server, "/chat", { transports: ["websocket"] });
  const gone = next(socket, "disconnect", 20_000);
  const back = next(socket, "connect", 20_000);
  assert.equal((await api(server, "DELETE", `/v1/sessions/${enc(socket.id)}?reconnect=true&reason=${enc("too loud")}`)).status, 200);
  const [reason, details] = await gone;
  assert.deepEqual([reason, details.context.reason], ["transport close", "too loud"]);
  await back;
});

ours("DELETE /v1/sessions by user and by channel; without either it is refused", async (t) => {
  const user = name("user");
  const room = name("r");
  const [a, b, c, d] = await Promise.all([{ user }, { user }, {}, {}].map((auth) => connected(t, server, "/chat", { auth })));
  await ask(c, "join", room);
  const gone = [a, b, c].map((s) => next(s, "disconnect"));
  assert.deepEqual((await api(server, "DELETE", `/v1/sessions?user=${user}`)).json, { count: 2 });
  assert.deepEqual((await api(server, "DELETE", `/v1/sessions?channel=${enc(`chat/${room}`)}`)).json, { count: 1 });
  for (const [reason] of await Promise.all(gone)) assert.equal(reason, "io server disconnect");
  assertProblem(assert, await api(server, "DELETE", "/v1/sessions"), 400, "malformed");
  await settled(d);
});

ours("PUT and DELETE /v1/subscriptions: one session, a user, the members of a channel", async (t) => {
  const user = name("user");
  const [a, b, c] = await Promise.all([{ user }, { user }, {}].map((auth) => connected(t, server, "/chat", { auth })));
  const sockets = [a, b, c];
  const hits = sockets.map((s) => collect(s, "hit"));
  const [x, y] = [name("chat/x"), name("chat/y")];
  const change = async (method, body) => (await api(server, method, "/v1/subscriptions", body)).json;
  const say = (channel, data) => api(server, "POST", "/v1/messages", { channel, event: "hit", data });
  assert.deepEqual(await change("PUT", { session: c.id, channel: x }), { count: 1 });
  assert.deepEqual(await change("PUT", { user, channel: x }), { count: 2 });
  await say(x, 1);
  assert.deepEqual(await change("PUT", { members_of: x, channel: y }), { count: 3 });
  await say(y, 2);
  assert.deepEqual(await change("DELETE", { user, channel: y }), { count: 2 });
  await say(y, 3);
  await Promise.all(sockets.map(settled));
  assert.deepEqual(hits.map((h) => h.map(([n]) => n)), [[1, 2], [1, 2], [1, 2, 3]]);
  // The room is the client's as well.
  assert.ok((await ask(c, "rooms"))[0].some((room) => y.endsWith(room)));
  const { json } = await api(server, "GET", `/v1/subscriptions?session=${enc(c.id)}`);
  assert.ok([x, y].every((channel) => json.items.includes(channel)));
});

ours("to subscribe an unknown session is 404", async () => {
  const res = await api(server, "PUT", "/v1/subscriptions", { session: "AAAAAAAAAAAAAAAAAAAA", channel: "chat/x" });
  assertProblem(assert, res, 404, "not-found");
});

ours("GET /v1/channels: names and counts over all shards, filter, pages", async (t) => {
  const base = name("many");
  const sockets = await Promise.all(Array.from({ length: 8 }, () => connected(t, server, "/chat")));
  await Promise.all(sockets.map((s, i) => ask(s, "join", Array.from({ length: i + 1 }, (_, j) => `${base}/${j}`))));
  const items = await pages(server, `/v1/channels?filter=${enc(`chat/${base}/#`)}`, 3);
  assert.deepEqual(items.map((c) => [c.channel, c.sessions]), Array.from({ length: 8 }, (_, j) => [`chat/${base}/${j}`, 8 - j]));
  const one = await api(server, "GET", `/v1/channels?filter=${enc(`chat/+/3`)}&limit=1000`);
  assert.ok(one.json.items.some((c) => c.channel === `chat/${base}/3`));
  assertProblem(assert, await api(server, "GET", `/v1/channels?filter=${enc("a#b")}`), 422, "invalid-filter");
});

ours("GET /v1/presence: members with their user, gone when they leave or disconnect", async (t) => {
  const room = name("p");
  const user = name("user");
  const sockets = await Promise.all(Array.from({ length: 6 }, () => connected(t, server, "/chat", { auth: { user } })));
  await Promise.all(sockets.map((s) => ask(s, "join", room)));
  const present = async () => (await pages(server, `/v1/presence?channel=${enc(`chat/${room}`)}`, 2)).map((m) => m.session).sort();
  assert.deepEqual(await present(), sockets.map((s) => s.id).sort());
  assert.equal((await pages(server, `/v1/presence?channel=${enc(`chat/${room}`)}`, 2))[0].user, user);
  await ask(sockets[0], "leave", room);
  const { id } = sockets[1];
  await api(server, "DELETE", `/v1/sessions/${enc(id)}`);
  assert.deepEqual(await present(), sockets.slice(2).map((s) => s.id).sort());
});

ours("GET /v1/server counts connections and sessions", async () => {
  const before = (await api(server, "GET", "/v1/server")).json;
  const sockets = await Promise.all(Array.from({ length: 5 }, () => joined(server, "/chat")));
  const now = (await api(server, "GET", "/v1/server")).json;
  assert.equal(now.name, "trunkline");
  assert.match(now.version, /^\d+\.\d+\.\d+/);
  assert.equal(now.shards, 4);
  assert.ok(now.sessions >= 5 && now.connections >= 5, JSON.stringify({ before, now }));
  for (const ws of sockets) ws.end();
});

ours("health, metrics and OpenAPI", async () => {
  for (const path of ["/health/live", "/health/ready"]) assert.equal((await api(server, "GET", path)).status, 200);
  const metrics = await api(server, "GET", "/metrics");
  assert.equal(metrics.status, 200);
  assert.match(metrics.type, /^text\/plain; version=0\.0\.4/);
  for (const line of metrics.text.trim().split("\n")) assert.match(line, /^(# (HELP|TYPE) |[a-z_:][a-zA-Z0-9_:]*(\{[^}]*\})? [-+0-9.eEinfNa]+$)/);
  assert.match(metrics.text, /^trunkline_/m);
  const { json } = await api(server, "GET", "/v1/openapi.json");
  assert.match(json.openapi, /^3\.1\./);
  for (const path of ["/v1/messages", "/v1/sessions", "/v1/sessions/{id}", "/v1/subscriptions", "/v1/channels", "/v1/presence", "/v1/server"]) {
    assert.ok(json.paths[path], path);
  }
});

ours("every operation of the OpenAPI document exists; other paths and methods are problems", async () => {
  const { json } = await api(server, "GET", "/v1/openapi.json");
  for (const [path, item] of Object.entries(json.paths)) {
    for (const method of Object.keys(item).filter((m) => ["get", "put", "post", "delete", "patch"].includes(m))) {
      if (path === "/v1/tail") continue;
      const res = await api(server, method.toUpperCase(), path.replace("{id}", "AAAAAAAAAAAAAAAAAAAA"));
      assert.notEqual(res.json?.code, "method-not-allowed", `${method} ${path}`);
      assert.ok(res.status < 500, `${method} ${path}: ${res.status}`);
    }
  }
  assertProblem(assert, await api(server, "GET", "/v1/nothing"), 404, "not-found");
  assertProblem(assert, await api(server, "PATCH", "/v1/server"), 405, "method-not-allowed");
});

ours("the page of a problem type exists", async () => {
  const { json } = await api(server, "GET", "/v1/nothing");
  const page = await api(server, "GET", json.type);
  assert.equal(page.status, 200);
  assert.match(page.type, /^text\/plain/);
});

ours("the public port has none of this", async () => {
  for (const path of ["/v1/server", "/metrics", "/health/live"]) assert.equal((await fetch(server.url + path)).status, 404);
});

ours("without keys: another Host than loopback is refused, so that web pages cannot reach the port", async () => {
  const http = await import("node:http");
  const url = new URL(server.privateUrl);
  const status = await new Promise((resolve, reject) => {
    http.get({ host: url.hostname, port: url.port, path: "/v1/server", headers: { host: "evil.example" } }, (res) => (res.resume(), resolve(res.statusCode))).on("error", reject);
  });
  assert.equal(status, 403);
});

ours("with keys: 401 without, with a wrong one and in another scheme; each key is good; probes need none", async (t) => {
  const keys = ["acceptance-key-number-1", "acceptance-key-number-2"];
  const locked = await start("acceptance", { restKeys: keys });
  t.after(() => locked.stop());
  for (const authorization of [undefined, "Bearer wrong", "Bearer ", "Basic YTpi", `Bearer ${keys[0]}x`]) {
    const res = await api(locked, "GET", "/v1/server", undefined, { key: null, headers: authorization ? { authorization } : {} });
    assertProblem(assert, res, 401, "unauthenticated");
  }
  for (const key of keys) assert.equal((await api(locked, "GET", "/v1/server", undefined, { key })).status, 200);
  assert.equal((await api(locked, "GET", "/health/live", undefined, { key: null })).status, 200);
  assert.equal(locked.key, keys[0]);
});
