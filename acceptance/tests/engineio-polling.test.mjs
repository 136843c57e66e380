// HTTP long-polling by hand: handshake, payloads, POST rules, errors.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { PATIENCE_MS, Polling, arrived, request, tcp, within } from "../lib/raw.mjs";

const RS = "\x1e";
const server = await shared("echo", { maxPayloadBytes: 1_000_000 });
const PATH = "/engine.io/";
const Q = `${PATH}?EIO=4&transport=polling`;
const open = (options) => Polling.open(server, { path: PATH, ...options });
const gone = async (session) => {
  const res = await session.get();
  assert.deepEqual([res.status, res.json], [400, { code: 1, message: "Session ID unknown" }]);
};

both("handshake: one packet with exactly five keys", async () => {
  const res = await request(server, "GET", Q);
  assert.equal(res.status, 200);
  assert.match(res.headers["content-type"], /^text\/plain; ?charset=utf-8$/i);
  assert.equal(res.headers["cache-control"], "no-store");
  const { sid, ...rest } = JSON.parse(res.body.slice(1));
  assert.deepEqual(rest, { upgrades: ["websocket"], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 });
  assert.ok(sid.length >= 20);
});

both("sids do not repeat", async () => {
  const sessions = await Promise.all(Array.from({ length: 50 }, () => open()));
  assert.equal(new Set(sessions.map((s) => s.sid)).size, 50);
});

both("POST is answered ok, messages come back in order, binary as b + base64", async () => {
  const s = await open();
  const res = await s.post(["4a", "4é\u{1f600}", "bAQIDBA==", "4"].join(RS));
  assert.deepEqual([res.status, res.body], [200, "ok"]);
  assert.match(res.headers["content-type"], /^text\/html/);
  const seen = await s.until((p) => p === "4");
  assert.deepEqual(seen, ["4a", "4é\u{1f600}", "bAQIDBA==", "4"]);
});

both("a waiting GET is answered as soon as there is something", async () => {
  const s = await open();
  const waiting = s.get();
  await s.post("4x");
  assert.equal((await waiting).body, "4x");
});

for (const [name, query, code, message] of [
  ["no transport", "EIO=4", 0, "Transport unknown"],
  ["an unknown transport", "EIO=4&transport=abc", 0, "Transport unknown"],
  ["an unknown sid", "EIO=4&transport=polling&sid=abcdefghijklmnopqrst", 1, "Session ID unknown"],
  ["websocket without upgrade", "EIO=4&transport=websocket", 3, "Bad request"],
]) {
  both(`${name}: 400 code ${code}`, async () => {
    const res = await request(server, "GET", `${PATH}?${query}`);
    assert.deepEqual([res.status, res.json], [400, { code, message }]);
    assert.match(res.headers["content-type"], /^application\/json/);
  });
}

for (const query of ["transport=polling", "EIO=3&transport=polling", "EIO=&transport=polling", "EIO=abc&transport=polling"]) {
  both(`${query}: 400 code 5`, async () => {
    const res = await request(server, "GET", `${PATH}?${query}`);
    assert.deepEqual([res.status, res.json], [400, { code: 5, message: "Unsupported protocol version" }]);
  });
}

for (const method of ["POST", "PUT"]) {
  both(`handshake by ${method}: 400 code 2`, async () => {
    const res = await request(server, method, Q, { body: "4x" });
    assert.deepEqual([res.status, res.json], [400, { code: 2, message: "Bad handshake method" }]);
  });
}

ours("PUT with a sid: 400", async () => {
  const s = await open();
  assert.equal((await request(server, "PUT", s.path, { body: "4x" })).status, 400);
});

ours("paths: with and without the last slash; others are 404", async () => {
  assert.equal((await request(server, "GET", "/engine.io?EIO=4&transport=polling")).status, 200);
  for (const path of ["/", "/nothing", "/engine.ioo/?EIO=4&transport=polling"]) assert.equal((await request(server, "GET", path)).status, 404, path);
});

both("unknown query parameters, t and b64 are ignored", async () => {
  assert.equal((await request(server, "GET", `${Q}&t=abc&b64=1&x=%20y&x=2&flag`)).status, 200);
});

both("a second GET: the first is answered 1, the second 400, the session is gone", async () => {
  const s = await open();
  const first = s.get();
  // The first GET must have arrived: a POST of the same session answered on the same keep-alive order proves nothing, so its
  // effect is awaited instead: an echo would answer it. The second GET therefore follows on the event of the first's socket.
  await arrived();
  const second = await s.get();
  assert.equal(second.status, 400);
  const res = await first;
  assert.deepEqual([res.status, res.body], [200, "1"]);
  await gone(s);
});

both("the connection of a waiting GET ends: the session is gone", async () => {
  const s = await open();
  const stop = new AbortController();
  const waiting = s.get({ signal: stop.signal });
  await arrived();
  stop.abort();
  await assert.rejects(waiting);
  await arrived();
  await gone(s);
});

both("POST body 1: the waiting GET is answered 6, the session is gone", async () => {
  const s = await open();
  const waiting = s.get();
  await arrived();
  await s.post("1");
  assert.equal((await waiting).body, "6");
  await gone(s);
});

for (const [name, body] of [["an unknown packet type", "abc"], ["an empty body", ""], ["a type that does not exist", "9"]]) {
  ours(`${name}: POST 400, waiting GET answered 1, session gone`, async () => {
    const s = await open();
    const waiting = s.get();
    await arrived();
    assert.equal((await s.post(body)).status, 400);
    assert.equal((await waiting).body, "1");
    await gone(s);
  });
}

both("POST as application/octet-stream: 400, the session is gone", async () => {
  const s = await open();
  const res = await s.post("4x", { headers: { "content-type": "application/octet-stream" } });
  assert.equal(res.status, 400);
  await gone(s);
});

both("POST of maxPayload bytes passes, one more is 413", async () => {
  const s = await open();
  const fits = "4" + "x".repeat(999_999);
  assert.equal((await s.post(fits)).status, 200);
  assert.equal((await s.poll())[0].length, 1_000_000);
  assert.equal((await s.post(fits + "y")).status, 413);
});

both("a chunked POST over maxPayload is 413 as well", async () => {
  const s = await open();
  const body = "4" + "x".repeat(1_200_000);
  const res = await s.post(body, { headers: { "content-type": "text/plain", "transfer-encoding": "chunked" } }).catch((e) => ({ status: e.code }));
  // The server may cut the connection while the body is still being sent.
  assert.ok([413, "ECONNRESET", "EPIPE"].includes(res.status), String(res.status));
});

both("a POST that arrives byte by byte and in chunks is one POST", async () => {
  const s = await open();
  const socket = tcp(server);
  const text = `POST ${s.path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n4s\r\n3;ext=1\r\nlow\r\n0\r\n\r\n`;
  for (const byte of text) {
    socket.write(byte);
    await new Promise((r) => setImmediate(r));
  }
  await socket.seen("\r\n\r\nok");
  socket.destroy();
  assert.deepEqual(await s.poll(), ["4slow"]);
});

both("one keep-alive connection serves several sessions, pipelined requests are answered in order", async () => {
  const [a, b] = await Promise.all([open(), open()]);
  const socket = tcp(server);
  const post = (s, body) => `POST ${s.path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const get = (s, last = "") => `GET ${s.path} HTTP/1.1\r\nHost: x\r\n${last}\r\n`;
  socket.write(post(a, "4to-a") + post(b, "4to-b") + get(b) + get(a, "Connection: close\r\n"));
  await within(socket.ended, PATIENCE_MS, "end");
  const text = socket.received.toString();
  const places = ["ok", "ok", "4to-b", "4to-a"].map((x, i, list) => text.indexOf(`\r\n\r\n${x}`, i && text.indexOf(`\r\n\r\n${list[i - 1]}`) + 5));
  assert.ok(places.every((p, i) => p > (places[i - 1] ?? 0)), text);
});

both("a client that closes its sending side still gets its answer", async () => {
  const socket = tcp(server);
  socket.end(`GET ${Q} HTTP/1.1\r\nHost: x\r\n\r\n`);
  assert.match(await socket.seen("maxPayload"), /^HTTP\/1\.1 200/);
  await within(socket.ended, PATIENCE_MS, "end");
});

both("HTTP/1.0 without keep-alive: the connection ends behind the answer", async () => {
  const socket = tcp(server);
  socket.write(`GET ${Q} HTTP/1.0\r\nHost: x\r\n\r\n`);
  await within(socket.ended, PATIENCE_MS, "end");
  assert.match(socket.received.toString(), /^HTTP\/1\.[01] 200 [^]*maxPayload/);
});

both("Expect: 100-continue is answered before the body is sent", async () => {
  const s = await open();
  const socket = tcp(server);
  socket.write(`POST ${s.path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n`);
  await socket.seen("HTTP/1.1 100 Continue\r\n\r\n");
  socket.write("4hello");
  await socket.seen("\r\n\r\nok");
  socket.destroy();
  assert.deepEqual(await s.poll(), ["4hello"]);
});
