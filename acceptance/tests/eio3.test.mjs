// Engine.IO 3 and Socket.IO 4 (3): socket.io-client 2.x, and its payloads by hand.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { TRANSPORTS, ask, collect, connected, next, open2, settled } from "../lib/clients.mjs";
import { Polling, Ws, request } from "../lib/raw.mjs";

const server = await shared("acceptance", { eio3: true });
const echo = await shared("echo", { eio3: true });
const off = await shared("echo", {});

const join2 = async (t, nsp, options) => {
  const socket = open2(t, server, nsp, options);
  const [auth] = await next(socket, "auth");
  return Object.assign(socket, { authSeen: auth });
};

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  both(`${name}: events, acks both ways, nested binary, unicode`, async (t) => {
    const socket = await join2(t, "/", { transports });
    const args = [1, "é\u{1f600}", null, { a: [true] }];
    assert.deepEqual(await ask(socket, "message-with-ack", ...args), args);
    const back = next(socket, "message-back");
    socket.emit("message", { deep: [Buffer.from([1, 2, 255])] }, "ü\u{1f600}", Buffer.from([4]));
    assert.deepEqual(await back, [{ deep: [Buffer.from([1, 2, 255])] }, "ü\u{1f600}", Buffer.from([4])]);
    assert.deepEqual(await ask(socket, "message-with-ack", Buffer.from([9])), [Buffer.from([9])]);
    socket.on("question", (x, answer) => answer(x, Buffer.from([5])));
    const asked = next(socket, "asked");
    socket.emit("ask-me", 2_000, "question", "x");
    assert.deepEqual(await asked, [{ timeout: false, args: ["x", Buffer.from([5])] }]);
  });

  both(`${name}: a namespace with a query`, async (t) => {
    const socket = await join2(t, "/custom?token=a%20b&n=1", { transports });
    assert.equal(socket.authSeen.token, "a b");
    assert.equal(socket.authSeen.n, "1");
    assert.equal((await ask(socket, "handshake"))[0].namespace, "/custom");
  });

  both(`${name}: a refusal is one error event, its data or else its message`, async (t) => {
    const [withData] = await next(open2(t, server, "/no", { transports }), "error");
    assert.deepEqual(withData, { code: 7 });
    const [plain] = await next(open2(t, server, "/custom?refuse=not%20you", { transports }), "error");
    assert.equal(plain, "not you");
  });

  both(`${name}: an unknown namespace`, async (t) => {
    const [error] = await next(open2(t, server, "/nowhere", { transports }), "error");
    assert.deepEqual(error, { message: "Invalid namespace" });
  });

  both(`${name}: server closes the transport, the client comes back`, async (t) => {
    const socket = await join2(t, "/custom", { transports });
    const gone = next(socket, "disconnect");
    socket.emit("kick-transport");
    await gone;
    await next(socket, "auth");
  });
}

both("clients of both generations share rooms, binary included", async (t) => {
  const [old, now] = [await join2(t, "/dyn-mixed"), await connected(t, server, "/dyn-mixed")];
  const hits = [collect(old, "hit"), collect(now, "hit")];
  await Promise.all([old, now].map((s) => ask(s, "join", "r")));
  await ask(old, "to-room", "r", "hit", 1, Buffer.from([1]));
  await ask(now, "to-room", "r", "hit", 2, Buffer.from([2]));
  await Promise.all([old, now].map(settled));
  assert.deepEqual(hits, [[[2, Buffer.from([2])]], [[1, Buffer.from([1])]]]);
});

both("io server disconnect on EIO3", async (t) => {
  const socket = await join2(t, "/custom");
  const gone = next(socket, "disconnect");
  socket.emit("kick");
  assert.deepEqual(await gone, ["io server disconnect"]);
});

ours("the socket id is not made from the sid", async (t) => {
  const socket = await join2(t, "/");
  const hits = collect(socket, "hit");
  const [other] = [await connected(t, server, "/")];
  // What the client shows as its id is the sid; a room of that name must be empty.
  await ask(other, "to-room", socket.io.engine.id, "hit", 1);
  await settled(socket);
  assert.deepEqual(hits, []);
});

async function openEio3(query) {
  const base = `/engine.io/?${query}`;
  const res = await request(echo, "GET", base);
  assert.equal(res.status, 200);
  const text = res.bytes[0] < 2 ? res.bytes.subarray(res.bytes.indexOf(0xff) + 1).toString() : res.body.slice(res.body.indexOf(":") + 1);
  return new Polling(echo, base, JSON.parse(text.slice(1)));
}

both("text payload: length in UTF-16 code units", async () => {
  const s = await openEio3("EIO=3&transport=polling&b64=1");
  await s.post("2:4€7:4a\u{1f600}xyz");
  let seen = "";
  while (!seen.includes("xyz")) seen += (await s.get()).body;
  assert.equal(seen, "2:4€7:4a\u{1f600}xyz");
});

both("base64 payload: type digit behind b", async () => {
  const s = await openEio3("EIO=3&transport=polling&b64=1");
  await s.post("10:b4AQIDBA==");
  assert.equal((await s.get()).body, "10:b4AQIDBA==");
});

both("binary payload: the whole batch is binary", async () => {
  const s = await openEio3("EIO=3&transport=polling");
  const body = Buffer.from([0, 6, 0xff, ..."4hello".split("").map((c) => c.charCodeAt(0)), 1, 5, 0xff, 4, 1, 2, 3, 4]);
  const res = await s.post(body, { headers: { "content-type": "application/octet-stream" } });
  assert.equal(res.status, 200);
  const got = await s.get();
  assert.match(got.headers["content-type"], /^application\/octet-stream/);
  assert.deepEqual(got.bytes, body);
});

both("websocket: binary frames begin with the type byte, a frame without a valid type is dropped", async () => {
  const ws = await Ws.open(echo, "EIO=3&transport=websocket", { path: "/engine.io/" });
  await ws.next();
  ws.send(Buffer.from([4, 1, 2]));
  assert.deepEqual(await ws.next(), Buffer.from([4, 1, 2]));
  ws.send(Buffer.from([99, 1]));
  ws.send("4still");
  assert.equal(await ws.next(), "4still");
  ws.end();
});

both("heartbeat is the client's: ping is answered by pong on polling", async () => {
  const s = await openEio3("EIO=3&transport=polling&b64=1");
  await s.post("1:2");
  assert.equal((await s.get()).body, "1:3");
});

both("EIO=3 is refused where it is off", async () => {
  const res = await request(off, "GET", "/engine.io/?EIO=3&transport=polling");
  assert.deepEqual([res.status, res.json.code], [400, 5]);
});

ours("any other EIO is refused where 3 is on", async () => {
  for (const eio of ["EIO=2&", "EIO=5&", "EIO=abc&", ""]) {
    const res = await request(echo, "GET", `/engine.io/?${eio}transport=polling`);
    assert.deepEqual([res.status, res.json.code], [400, 5], eio);
  }
});
