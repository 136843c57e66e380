// POST and GET /v1/messages, what clients get of it and what the answer counts.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { ours, REFERENCE, shared } from "../lib/sut.mjs";
import { ask, collect, connected, next, open2, settled } from "../lib/clients.mjs";
import { Polling, Ws, joined } from "../lib/raw.mjs";
import { api, assertProblem } from "../lib/rest.mjs";

const server = REFERENCE ? {} : await shared("acceptance", { shards: 4, eio3: true, csrWindowMs: 30_000 });
let unique = 0;
const name = (word) => `${word}${process.pid}x${++unique}`;
const publish = async (body) => {
  const res = await api(server, "POST", "/v1/messages", body);
  assert.equal(res.status, 200, res.text);
  return res.json;
};
/** Members of a new room of `/chat`: their sockets and the channel's name. */
async function members(t, n, options) {
  const room = name("room");
  const sockets = await Promise.all(Array.from({ length: n }, () => connected(t, server, "/chat", options)));
  await Promise.all(sockets.map((s) => ask(s, "join", room)));
  return { sockets, room, channel: `chat/${room}` };
}

ours("to a room: every member gets event and data once, the answer counts them", async (t) => {
  const { sockets, channel } = await members(t, 5);
  const hits = sockets.map((s) => collect(s, "say"));
  const answer = await publish({ channel, event: "say", data: { t: "hi", u: "é\u{1f600}" } });
  assert.equal(answer.results.length, 1);
  const { channel: told, delivered, queued, dropped } = answer.results[0];
  assert.deepEqual([told, delivered + queued, dropped], [channel, 5, 0]);
  assert.equal(typeof answer.id, "string");
  await Promise.all(sockets.map(settled));
  assert.deepEqual(hits, sockets.map(() => [[{ t: "hi", u: "é\u{1f600}" }]]));
});

ours("the event is `message` unless named; args are several arguments; binary by $binary and data_base64", async (t) => {
  const { sockets: [socket], channel } = await members(t, 1);
  const plain = next(socket, "message");
  await publish({ channel, data: null });
  assert.deepEqual(await plain, [null]);
  const several = next(socket, "e");
  await publish({ channel, event: "e", args: [1, "two", [3], { $binary: "AQID" }] });
  assert.deepEqual(await several, [1, "two", [3], Buffer.from([1, 2, 3])]);
  const bytes = next(socket, "b");
  await publish({ channel, event: "b", data_base64: "/wA=" });
  assert.deepEqual(await bytes, [Buffer.from([255, 0])]);
  const none = next(socket, "none");
  await publish({ channel, event: "none" });
  assert.deepEqual(await none, []);
});

ours("whole namespaces: `main` is /, `chat` is /chat, not its rooms twice", async (t) => {
  const [{ sockets: [inChat] }, inMain] = [await members(t, 1), await connected(t, server)];
  const e = name("e");
  const hits = [collect(inChat, e), collect(inMain, e)];
  await publish({ channel: "chat", event: e, data: "chat" });
  await publish({ channel: "main", event: e, data: "main" });
  await Promise.all([inChat, inMain].map(settled));
  assert.deepEqual(hits, [[["chat"]], [["main"]]]);
});

ours("rooms of / have no prefix", async (t) => {
  const socket = await connected(t, server);
  const room = name("plain");
  await ask(socket, "join", room);
  const hit = next(socket, "hit");
  assert.equal((await publish({ channel: room, event: "hit", data: 1 })).results[0].delivered, 1);
  assert.deepEqual(await hit, [1]);
});

ours("to one session by $client, to a user's sessions in all namespaces by $user", async (t) => {
  const user = name("user");
  const [a, b, c] = [await connected(t, server, "/chat", { auth: { user } }), await connected(t, server, "/", { auth: { user } }), await connected(t, server, "/chat")];
  const hits = [a, b, c].map((s) => collect(s, "hit"));
  await publish({ channel: `$client/${a.id}`, event: "hit", data: "one" });
  await publish({ channel: `$user/${user}`, event: "hit", data: "user" });
  await Promise.all([a, b, c].map(settled));
  assert.deepEqual(hits, [[["one"], ["user"]], [["user"]], []]);
});

ours("several channels are one delivery per session; except takes sessions, except_channels members out", async (t) => {
  const [one, two] = [name("c1"), name("c2")];
  const sockets = await Promise.all([0, 1, 2, 3].map(() => connected(t, server, "/chat")));
  const [a, b, c, d] = sockets;
  await Promise.all([ask(a, "join", [one, two]), ask(b, "join", one), ask(c, "join", two), ask(d, "join", [two, "out"])]);
  const hits = sockets.map((s) => collect(s, "hit"));
  const channels = [`chat/${one}`, `chat/${two}`];
  await publish({ channels, event: "hit", data: 1 });
  await publish({ channels, event: "hit", data: 2, except: [a.id, c.id] });
  await publish({ channels, event: "hit", data: 3, except_channels: ["chat/out"] });
  await Promise.all(sockets.map(settled));
  assert.deepEqual(hits.map((h) => h.map(([x]) => x)), [[1, 3], [1, 2, 3], [1, 3], [1, 2]]);
});

ours("replies: args of everybody, with binary; nobody missing", async (t) => {
  const { sockets, channel } = await members(t, 3);
  sockets.forEach((s, i) => s.on("q", (x, answer) => answer(i, { x }, Buffer.from([i]))));
  const { replies, missing } = await publish({ channel, event: "q", data: "x", reply: { wait_ms: 3_000 } });
  assert.deepEqual(missing, []);
  const by = Object.fromEntries(replies.map((r) => [r.session, r.args]));
  sockets.forEach((s, i) => assert.deepEqual(by[s.id], [i, { x: "x" }, { $binary: Buffer.from([i]).toString("base64") }]));
});

ours("replies: who does not answer in time is missing by id; nobody at all is 504", async (t) => {
  const { sockets: [a, b], channel } = await members(t, 2);
  a.on("q", (answer) => answer("a"));
  b.on("q", () => {});
  const began = Date.now();
  const { replies, missing } = await publish({ channel, event: "q", reply: { wait_ms: 400 } });
  assert.ok(Date.now() - began >= 390);
  assert.deepEqual([replies, missing], [[{ session: a.id, args: ["a"] }], [b.id]]);
  const none = await api(server, "POST", "/v1/messages", { channel: `$client/${b.id}`, event: "q", reply: { wait_ms: 100 } });
  assertProblem(assert, none, 504, "reply-timeout");
});

ours("replies: a room without members is answered at once", async () => {
  const { replies, missing, results } = await publish({ channel: name("chat/empty"), event: "q", reply: { wait_ms: 5_000 } });
  assert.deepEqual([replies, missing, results[0].delivered], [[], [], 0]);
});

ours("volatile: dropped for a poller between two polls, and counted", async () => {
  const s = await Polling.open(server);
  await s.post("40/chat,");
  const seen = await s.until((p) => p.startsWith('42/chat,["auth"'));
  const { sid } = JSON.parse(seen.find((p) => p.startsWith("40/chat,")).slice(8));
  const lost = await publish({ channel: `$client/${sid}`, event: "hit", data: "lost", volatile: true });
  assert.deepEqual([lost.results[0].delivered, lost.results[0].dropped], [0, 1]);
  const kept = await publish({ channel: `$client/${sid}`, event: "hit", data: "kept" });
  assert.equal(kept.results[0].delivered + kept.results[0].queued, 1);
  const got = await s.until((p) => p.includes("kept"));
  assert.deepEqual(got.filter((p) => p.includes("lost")), []);
});

ours("a client of Engine.IO 3 and one with msgpack get the same message", async (t) => {
  const { default: msgpack } = await import("socket.io-msgpack-parser");
  const e = name("e");
  const old = open2(t, server, "/chat");
  const [packed] = await Promise.all([connected(t, server, "/chat", { parser: msgpack }), next(old, "auth")]);
  const got = [next(old, e), next(packed, e)];
  await publish({ channel: "chat", event: e, args: [{ a: [1] }, { $binary: "AQI=" }] });
  for (const args of await Promise.all(got)) assert.deepEqual(args.map((x) => (ArrayBuffer.isView(x) ? Buffer.from(x) : x)), [{ a: [1] }, Buffer.from([1, 2])]);
});

ours("wait: false is 202 with an id, and delivered", async (t) => {
  const { sockets: [socket], channel } = await members(t, 1);
  const hit = next(socket, "hit");
  const res = await api(server, "POST", "/v1/messages", { channel, event: "hit", data: 1, wait: false });
  assert.equal(res.status, 202);
  assert.equal(typeof res.json.id, "string");
  assert.deepEqual(await hit, [1]);
});

ours("messages of one publisher keep their order", async (t) => {
  const { sockets: [socket], channel } = await members(t, 1);
  const hits = collect(socket, "n");
  for (let i = 0; i < 200; i++) await publish({ channel, event: "n", data: i });
  await settled(socket);
  assert.deepEqual(hits.map(([i]) => i), Array.from({ length: 200 }, (_, i) => i));
});

ours("history: pages by position, oldest first, channels without a rule have none", async () => {
  const channel = name("log/");
  for (let i = 0; i < 7; i++) await publish({ channel, event: "n", data: i });
  const all = [];
  let after = "";
  do {
    const { status, json } = await api(server, "GET", `/v1/messages?channel=${encodeURIComponent(channel)}&limit=3${after}`);
    assert.equal(status, 200);
    assert.ok(json.items.length <= 3);
    all.push(...json.items);
    after = json.next && `&after=${encodeURIComponent(json.next)}`;
  } while (after);
  assert.deepEqual(all.map((m) => [m.event, m.args, m.channel]), Array.from({ length: 7 }, (_, i) => ["n", [i], channel]));
  const third = await api(server, "GET", `/v1/messages?channel=${encodeURIComponent(channel)}&after=${encodeURIComponent(all[2].position)}`);
  assert.deepEqual(third.json.items.map((m) => m.args[0]), [3, 4, 5, 6]);
  await publish({ channel: "chat/no-history", data: 1 });
  const none = await api(server, "GET", "/v1/messages?channel=chat/no-history");
  assert.deepEqual(none.json?.items ?? [], []);
});

ours("history: trimmed to its limit, and a lost position is 410", async () => {
  const channel = name("log/");
  const first = (await publish({ channel, data: 0 })).results[0].position;
  for (let i = 1; i <= 110; i++) await publish({ channel, data: i });
  const { json } = await api(server, "GET", `/v1/messages?channel=${encodeURIComponent(channel)}&limit=1000`);
  assert.deepEqual(json.items.map((m) => m.args[0]), Array.from({ length: 100 }, (_, i) => i + 11));
  assertProblem(assert, await api(server, "GET", `/v1/messages?channel=${encodeURIComponent(channel)}&after=${encodeURIComponent(first)}`), 410, "position-lost");
});

ours("a volatile message and an event of a client: only what is kept is in the history", async (t) => {
  const room = name("log/");
  const socket = await connected(t, server);
  await ask(socket, "to-room", room, "said", { by: "client" });
  await publish({ channel: room, event: "gone", data: 1, volatile: true });
  const { json } = await api(server, "GET", `/v1/messages?channel=${encodeURIComponent(room)}`);
  assert.deepEqual(json.items.map((m) => [m.event, m.args]), [["said", [{ by: "client" }]]]);
});

ours("a recovered session gets what REST sent while it was away", async () => {
  const ws = await Ws.open(server);
  ws.send("40/csr,");
  const seen = await ws.until((m) => m.startsWith('42/csr,["auth"'));
  const { pid, sid } = JSON.parse(seen.find((m) => m.startsWith("40/csr,")).slice(7));
  const offset = JSON.parse(seen.at(-1).slice(7)).at(-1);
  ws.end();
  await ws.closed;
  // As long as the server has not seen the end of the connection it counts the message as delivered; either way it is kept.
  const { results } = await publish({ channel: `$client/${sid}`, event: "away", data: 1 });
  assert.equal(results[0].delivered + results[0].queued, 1);
  const back = await Ws.open(server);
  back.send(`40/csr,${JSON.stringify({ pid, offset })}`);
  const got = await back.until((m) => m.startsWith("40/csr,"));
  assert.equal(got.filter((m) => m.includes('"away",1')).length, 1);
  back.end();
});

for (const [title, body, status, code] of [
  ["no JSON", "{", 400, "malformed"],
  ["an unknown member", { channel: "chat/x", data: 1, chanel: "y" }, 400, "unknown-field"],
  ["no channel", { data: 1 }, 400, "malformed"],
  ["data and args", { channel: "chat/x", data: 1, args: [1] }, 400, "malformed"],
  ["an empty channel", { channel: "", data: 1 }, 422, "invalid-channel"],
  ["a channel with a wildcard", { channel: "chat/#", data: 1 }, 422, "invalid-channel"],
  ["a channel of 3,000 bytes", { channel: "c".repeat(3_000), data: 1 }, 422, "invalid-channel"],
  ["a reserved channel", { channel: "$sys/x", data: 1 }, 403, "reserved-channel"],
  ["a wait of no time", { channel: "chat/x", reply: { wait_ms: 0 } }, 400, "malformed"],
  ["a session id that is none", { channel: "chat/x", except: ["?"] }, 400, "malformed"],
]) {
  ours(`${title}: ${status} ${code}`, async () => {
    assertProblem(assert, await api(server, "POST", "/v1/messages", body), status, code);
  });
}

ours("another media type is 415, a body over the limit 413, an unknown parameter 400", async () => {
  assertProblem(assert, await api(server, "POST", "/v1/messages", "x", { headers: { "content-type": "text/plain" } }), 415, "media-type");
  assertProblem(assert, await api(server, "POST", "/v1/messages", { channel: "chat/x", data: "x".repeat(5_000_000) }), 413, "too-large");
  assertProblem(assert, await api(server, "GET", "/v1/messages?channel=log/x&limt=3"), 400, "unknown-field");
});

ours("a message larger than limits.message_bytes_max is refused and not delivered", async (t) => {
  const { sockets: [socket], channel } = await members(t, 1);
  const hits = collect(socket, "big");
  const res = await api(server, "POST", "/v1/messages", { channel, event: "big", data: "x".repeat(1_100_000) });
  assertProblem(assert, res, 413, "too-large");
  await settled(socket);
  assert.deepEqual(hits, []);
});

ours("JSON nested 100,000 deep is refused and does no harm", async () => {
  const res = await api(server, "POST", "/v1/messages", `{"channel":"chat/x","data":${"[".repeat(100_000)}${"]".repeat(100_000)}}`);
  assertProblem(assert, res, 400, "malformed");
  assert.equal((await api(server, "GET", "/v1/server")).status, 200);
});

ours("curl can publish", async (t) => {
  const { sockets: [socket], channel } = await members(t, 1);
  const hit = next(socket, "hit");
  const key = server.key ? ["-H", `Authorization: Bearer ${server.key}`] : [];
  const { stdout } = await promisify(execFile)("curl", ["-sS", "--fail-with-body", `${server.privateUrl}/v1/messages`, ...key, "--json", JSON.stringify({ channel, event: "hit", data: "curl" })]);
  assert.equal(JSON.parse(stdout).results[0].delivered, 1);
  assert.deepEqual(await hit, ["curl"]);
});

ours("the trunkline pub command reaches a client", async (t) => {
  const { sockets: [socket], channel } = await members(t, 1);
  const hit = next(socket, "hit");
  const { BIN_DIR } = await import("../lib/sut.mjs");
  await promisify(execFile)(`${BIN_DIR}/trunkline`, ["pub", channel, "--event", "hit", '{"a":1}', "text", "--url", server.privateUrl], { env: { ...process.env, TRUNKLINE_KEY: server.key ?? "" } });
  assert.deepEqual(await hit, [{ a: 1 }, "text"]);
});

ours("a namespace broadcast by REST reaches clients on every shard", async () => {
  const e = name("e");
  const sockets = await Promise.all(Array.from({ length: 40 }, () => joined(server, "/chat")));
  const { results } = await publish({ channel: "chat", event: e, data: 1 });
  assert.ok(results[0].delivered + results[0].queued >= 40);
  for (const ws of sockets) {
    await ws.until((m) => m === `42/chat,["${e}",1]`);
    ws.end();
  }
});
