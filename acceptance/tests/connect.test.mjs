// CONNECT, auth, refusals, namespaces, and what socket.io-client does after each kind of ending.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { TRANSPORTS, ask, collect, connected, next, open, settled, upgraded } from "../lib/clients.mjs";

const server = await shared("acceptance", { connectTimeoutMs: 2_000 });

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  both(`${name}: connects, sends the auth payload, gets a socket id of its own`, async (t) => {
    const socket = open(t, server, "/", { transports, auth: { token: "ä", n: 1 } });
    const [auth] = await next(socket, "auth");
    assert.deepEqual(auth, { token: "ä", n: 1 });
    assert.equal(socket.connected, true);
    assert.match(socket.id, /^[A-Za-z0-9_-]{20}$/);
    assert.notEqual(socket.id, socket.io.engine.id);
  });

  both(`${name}: a refusal is one connect_error, inactive, with message and data, and no second attempt`, async (t) => {
    const socket = open(t, server, "/no", { transports });
    let attempts = 0;
    socket.io.engine.on("packetCreate", (p) => p.type === "message" && /^0\/no/.test(p.data) && attempts++);
    const [error] = await next(socket, "connect_error");
    assert.equal(error.message, "Auth failed (custom namespace)");
    assert.deepEqual(error.data, { code: 7 });
    assert.equal(socket.active, false);
    // The connection itself lives on: another namespace joins over it, and by then a second attempt would have left.
    const other = socket.io.socket("/custom", {});
    await next(other, "auth");
    await settled(other);
    assert.equal(attempts, 1);
  });

  both(`${name}: an unknown namespace is "Invalid namespace"`, async (t) => {
    const socket = open(t, server, "/nowhere", { transports });
    const [error] = await next(socket, "connect_error");
    assert.equal(error.message, "Invalid namespace");
    assert.equal(error.data, undefined);
    assert.equal(socket.active, false);
  });
}

both("a refusal without data has none", async (t) => {
  const socket = open(t, server, "/custom", { auth: { refuse: "not you" } });
  const [error] = await next(socket, "connect_error");
  assert.equal(error.message, "not you");
  assert.equal(error.data, undefined);
});

both("after a refusal the program may call connect() again with other credentials", async (t) => {
  const socket = open(t, server, "/", { auth: { refuse: "no" } });
  await next(socket, "connect_error");
  socket.auth = { token: "better" };
  socket.connect();
  assert.deepEqual(await next(socket, "auth"), [{ token: "better" }]);
});

both("no auth payload arrives as {}", async (t) => {
  const socket = open(t, server);
  assert.deepEqual(await next(socket, "auth"), [{}]);
});

both("the handshake shows the query of the program and not the protocol's", async (t) => {
  const socket = await connected(t, server, "/custom", { query: { app: "x y&z" }, auth: { a: 1 } });
  const [handshake] = await ask(socket, "handshake");
  assert.deepEqual(handshake, { namespace: "/custom", auth: { a: 1 }, query: { app: "x y&z" } });
});

both("events sent before CONNECT is answered are delivered in order", async (t) => {
  const socket = open(t, server, "/", { auth: { delayMs: 150 } });
  const back = collect(socket, "message-back");
  for (let i = 0; i < 20; i++) socket.emit("message", i);
  await next(socket, "auth");
  await settled(socket);
  assert.deepEqual(back.map(([i]) => i), Array.from({ length: 20 }, (_, i) => i));
});

both("server disconnects: 'io server disconnect', no reconnect before connect() is called", async (t) => {
  const socket = await connected(t, server, "/custom");
  let attempts = 0;
  socket.io.on("reconnect_attempt", () => attempts++);
  const gone = next(socket, "disconnect");
  socket.emit("kick");
  const [reason] = await gone;
  assert.equal(reason, "io server disconnect");
  assert.equal(socket.active, false);
  const before = socket.id;
  socket.connect();
  await next(socket, "auth");
  assert.notEqual(socket.id, before);
  assert.equal(attempts, 0);
});

both("server closes the transport: the client reconnects by itself with a new id", async (t) => {
  for (const transports of Object.values(TRANSPORTS)) {
    const socket = await connected(t, server, "/custom", { transports });
    if (transports.length === 2) await upgraded(socket);
    const before = socket.id;
    const gone = next(socket, "disconnect");
    socket.emit("kick-transport");
    const [reason] = await gone;
    assert.match(reason, /^transport (close|error)$/);
    assert.equal(socket.active, true);
    await next(socket, "auth");
    assert.notEqual(socket.id, before);
  }
});

both("client disconnects one namespace, the other goes on", async (t) => {
  const one = await connected(t, server, "/custom");
  const two = one.io.socket("/chat", {});
  await next(two, "auth");
  one.disconnect();
  assert.deepEqual(await ask(two, "message-with-ack", 1), [1]);
});

both("several namespaces share one connection", async (t) => {
  const main = await connected(t, server);
  const others = ["/custom", "/chat", "/dyn-1"].map((nsp) => main.io.socket(nsp, {}));
  await Promise.all(others.map((s) => next(s, "auth")));
  const all = [main, ...others];
  assert.equal(new Set(all.map((s) => s.io.engine.id)).size, 1);
  assert.equal(new Set(all.map((s) => s.id)).size, 4);
  for (const socket of all) {
    const [handshake] = await ask(socket, "handshake");
    assert.equal(handshake.namespace, socket.nsp);
  }
});

both("namespaces by pattern exist on demand and are apart from each other", async (t) => {
  const [a1, a2, b] = await Promise.all(["/dyn-a", "/dyn-a", "/dyn-b"].map((n) => connected(t, server, n)));
  const stray = collect(b, "hello");
  const seen = next(a2, "hello");
  await ask(a1, "others", "hello", 1);
  assert.deepEqual(await seen, [1]);
  await settled(b);
  assert.deepEqual(stray, []);
});

both("a name that only looks like a declared namespace is unknown", async (t) => {
  for (const nsp of ["/custom/x", "/customs", "/cust", "/dyn"]) {
    const [error] = await next(open(t, server, nsp), "connect_error");
    assert.equal(error.message, "Invalid namespace", nsp);
  }
});

both("a slow CONNECT of one namespace does not hold up another", async (t) => {
  const slow = open(t, server, "/custom", { auth: { delayMs: 700 } });
  const order = [];
  const quick = slow.io.socket("/chat", {});
  const both = [next(slow, "auth").then(() => order.push("slow")), next(quick, "auth").then(() => order.push("quick"))];
  await Promise.all(both);
  assert.deepEqual(order, ["quick", "slow"]);
});

// Not over an upgrade: a websocket that closes between 3probe and 5 leaves the client of version 4.8.4 hanging until its ping
// time-out, whichever server closes it.
for (const transports of [["polling"], ["websocket"]]) {
  ours(`${transports}: back end down: the transport is closed or the handshake refused, never CONNECT_ERROR; the client comes back`, async (t) => {
    let tries = 0;
    const socket = open(t, server, "/custom", { transports, auth: (send) => send(++tries < 3 ? { unavailable: true } : { ok: 1 }) });
    const refusals = [];
    socket.on("connect_error", (e) => e.message && socket.active === false && refusals.push(e.message));
    assert.deepEqual(await next(socket, "auth", 20_000), [{ ok: 1 }]);
    assert.equal(tries, 3);
    assert.deepEqual(refusals, []);
  });
}
