// Rooms: union, except, one delivery per socket, sender left out; broadcast acks; volatile.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { ask, collect, connected, next, settled } from "../lib/clients.mjs";
import { Polling } from "../lib/raw.mjs";

const server = await shared("acceptance");
let unique = 0;
const room = (name) => `${name}-${process.pid}-${++unique}`;

/** `n` clients on a namespace of their own, so that tests do not hear each other; each collects the event `hit`. */
async function crowd(t, n) {
  const nsp = `/dyn-${room("rooms")}`;
  const clients = await Promise.all(Array.from({ length: n }, () => connected(t, server, nsp)));
  return clients.map((socket) => Object.assign(socket, { hits: collect(socket, "hit") }));
}
/** Who of `clients` has heard what so far; waits until what was sent before has arrived. */
async function heard(clients) {
  await Promise.all(clients.map(settled));
  return clients.map((c) => c.hits.splice(0).map(([x]) => x));
}

both("to(room): members only, without the sender, once", async (t) => {
  const [a, b, c] = await crowd(t, 3);
  const r = room("r");
  await Promise.all([a, b].map((s) => ask(s, "join", r)));
  await ask(a, "to-room", r, "hit", 1);
  assert.deepEqual(await heard([a, b, c]), [[], [1], []]);
  await ask(c, "to-room", r, "hit", 2);
  assert.deepEqual(await heard([a, b, c]), [[2], [2], []]);
});

both("union of rooms is one delivery per socket, except removes", async (t) => {
  const [a, b, c, d, e] = await crowd(t, 5);
  const [x, y, z] = [room("x"), room("y"), room("z")];
  await Promise.all([ask(a, "join", [x, y]), ask(b, "join", [x, y]), ask(c, "join", y), ask(d, "join", [x, z]), ask(e, "join", z)]);
  await ask(a, "to-rooms", [x, y], [], "hit", "union");
  assert.deepEqual(await heard([a, b, c, d, e]), [[], ["union"], ["union"], ["union"], []]);
  await ask(a, "to-rooms", [x, y], [z], "hit", "less");
  assert.deepEqual(await heard([a, b, c, d, e]), [[], ["less"], ["less"], [], []]);
  await ask(a, "to-rooms", [], [z, y], "hit", "only except");
  assert.deepEqual(await heard([a, b, c, d, e]), [[], [], [], [], []]);
  await ask(e, "to-rooms", [], [z], "hit", "all but z");
  assert.deepEqual(await heard([a, b, c, d, e]), [["all but z"], ["all but z"], ["all but z"], [], []]);
});

both("leave ends membership, joining twice counts once, rooms lists them", async (t) => {
  const [a, b] = await crowd(t, 2);
  const r = room("r");
  assert.deepEqual(await ask(a, "join", r), ["ok"]);
  assert.deepEqual(await ask(a, "join", [r, r]), ["ok"]);
  assert.deepEqual(await ask(a, "rooms"), [[r]]);
  await ask(b, "to-room", r, "hit", 1);
  assert.deepEqual(await heard([a]), [[1]]);
  assert.deepEqual(await ask(a, "leave", r), ["ok"]);
  assert.deepEqual(await ask(a, "rooms"), [[]]);
  await ask(b, "to-room", r, "hit", 2);
  assert.deepEqual(await heard([a]), [[]]);
  assert.deepEqual(await ask(a, "leave", r), ["ok"]);
});

both("every socket is in the room of its own id", async (t) => {
  const [a, b, c] = await crowd(t, 3);
  await ask(a, "to-room", b.id, "hit", "private");
  assert.deepEqual(await heard([a, b, c]), [[], ["private"], []]);
});

both("all and others", async (t) => {
  const clients = await crowd(t, 3);
  await ask(clients[0], "all", "hit", 1);
  assert.deepEqual(await heard(clients), [[1], [1], [1]]);
  await ask(clients[0], "others", "hit", 2);
  assert.deepEqual(await heard(clients), [[], [2], [2]]);
});

both("the same room name in two namespaces is two rooms", async (t) => {
  const [[a], [b, c]] = await Promise.all([crowd(t, 1), crowd(t, 2)]);
  const r = room("same");
  await Promise.all([a, b].map((s) => ask(s, "join", r)));
  await ask(c, "to-room", r, "hit", 1);
  assert.deepEqual(await heard([a, b]), [[], [1]]);
});

both("room names of any characters", async (t) => {
  const [a, b] = await crowd(t, 2);
  for (const name of ["a/b/c", "a+b", "#", "50%", "ü n i", "é,[]", "/", "a//b", "\u0001"]) {
    await ask(a, "join", name);
    assert.deepEqual(await ask(a, "rooms"), [[name]]);
    await ask(b, "to-room", name, "hit", name);
    assert.deepEqual(await heard([a]), [[name]]);
    await ask(a, "leave", name);
  }
});

both("a + or # in a room name is no wildcard", async (t) => {
  const [a, b] = await crowd(t, 2);
  await ask(a, "join", ["+", "#", "w/#"]);
  await ask(b, "to-room", "w/x", "hit", 1);
  await ask(b, "to-room", "x", "hit", 2);
  assert.deepEqual(await heard([a]), [[]]);
});

both("binary broadcast reaches polling and websocket clients alike", async (t) => {
  const nsp = `/dyn-${room("bin")}`;
  const [a, b, c] = await Promise.all([["polling"], ["websocket"], ["websocket"]].map((transports) => connected(t, server, nsp, { transports })));
  const got = Promise.all([next(a, "bytes"), next(b, "bytes")]);
  await ask(c, "others", "bytes", { x: Buffer.from([1, 2]) }, Buffer.from([3]));
  for (const args of await got) assert.deepEqual(args, [{ x: Buffer.from([1, 2]) }, Buffer.from([3])]);
});

both("broadcast ack: all answers, in order of arrival", async (t) => {
  const [a, b, c, d] = await crowd(t, 4);
  const r = room("ask");
  await Promise.all([b, c, d].map((s) => ask(s, "join", r)));
  [b, c, d].forEach((s, i) => s.on("q", (n, answer) => setTimeout(answer, [250, 20, 130][i], n + i)));
  const [result] = await ask(a, "ask-room", r, 3_000, "q", 10);
  assert.deepEqual(result, { replies: [[11], [12], [10]], missing: 0 });
});

both("broadcast ack: at the time-out those that answered, and how many did not", async (t) => {
  const [a, b, c] = await crowd(t, 3);
  const r = room("gap");
  await Promise.all([b, c].map((s) => ask(s, "join", r)));
  b.on("q", (answer) => answer("b"));
  c.on("q", () => {});
  const began = Date.now();
  const [result] = await ask(a, "ask-room", r, 300, "q");
  assert.deepEqual(result, { replies: [["b"]], missing: 1 });
  assert.ok(Date.now() - began >= 290, "answers before the time-out");
});

both("broadcast ack: one that disconnects leaves a gap", async (t) => {
  const [a, b, c] = await crowd(t, 3);
  const r = room("gone");
  await Promise.all([b, c].map((s) => ask(s, "join", r)));
  b.on("q", (answer) => answer("b"));
  c.on("q", () => c.disconnect());
  const [result] = await ask(a, "ask-room", r, 400, "q");
  assert.deepEqual(result, { replies: [["b"]], missing: 1 });
});

both("broadcast ack: nobody there is answered at once", async (t) => {
  const [a] = await crowd(t, 1);
  const began = Date.now();
  const [result] = await ask(a, "ask-room", room("empty"), 4_000, "q");
  assert.deepEqual(result, { replies: [], missing: 0 });
  assert.ok(Date.now() - began < 4_000, "it did not wait for the time-out");
});

ours("broadcast ack keeps every argument of an answer", async (t) => {
  const [a, b] = await crowd(t, 2);
  b.on("q", (answer) => answer(1, "two", Buffer.from([3])));
  const [result] = await ask(a, "ask-room", b.id, 2_000, "q");
  assert.deepEqual(result, { replies: [[1, "two", Buffer.from([3])]], missing: 0 });
});

both("volatile events arrive when the client is ready", async (t) => {
  const [a, b] = await crowd(t, 2);
  // The polling loop and the upgrade of b may be between two requests: until it is idle on websocket it is not ready.
  if (b.io.engine.transport.name !== "websocket" || b.io.engine.upgrading) await next(b.io.engine, "upgrade");
  await settled(b);
  const hit = next(b, "hit");
  a.emit("all-volatile", "hit", "now");
  assert.deepEqual(await hit, ["now"]);
});

both("volatile to a client that has no poll waiting is dropped, what is not volatile waits for it", async (t) => {
  const nsp = `/dyn-${room("vol")}`;
  const raw = await Polling.open(server);
  await raw.post(`40${nsp},`);
  await raw.until((p) => p.includes('"auth"'));
  const other = await connected(t, server, nsp);
  other.emit("all-volatile", "hit", "lost");
  await ask(other, "all", "hit", "kept");
  const hits = await raw.until((p) => p.includes("kept"));
  assert.deepEqual(hits.filter((p) => p.includes("lost")), []);
});

ours("a burst of volatile events on an idle websocket arrives whole", async (t) => {
  const socket = await connected(t, server, "/", { transports: ["websocket"] });
  const hits = collect(socket, "hit");
  assert.deepEqual(await ask(socket, "volatile", "hit", 5, 10), [5]);
  assert.deepEqual(hits.map(([i]) => i), [0, 1, 2, 3, 4]);
});
