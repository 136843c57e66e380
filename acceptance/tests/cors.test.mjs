// CORS, the Origin of websockets, OPTIONS, the cookie.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { Ws, request } from "../lib/raw.mjs";

const GOOD = "https://app.example";
const listed = await shared("echo", { corsOrigins: [GOOD, "https://two.example"], corsCredentials: true, cookie: "io" });
const any = await shared("echo", { corsOrigins: ["*"] });
const off = await shared("echo", {});
const Q = "/engine.io/?EIO=4&transport=polling";
const from = (origin, more) => ({ headers: { origin, ...more } });

both("off: no CORS headers", async () => {
  const res = await request(off, "GET", Q, from(GOOD));
  assert.equal(res.status, 200);
  assert.equal(res.headers["access-control-allow-origin"], undefined);
});

both("a listed origin is echoed with credentials and Vary", async () => {
  for (const origin of [GOOD, "https://two.example"]) {
    const res = await request(listed, "GET", Q, from(origin));
    assert.equal(res.headers["access-control-allow-origin"], origin);
    assert.equal(res.headers["access-control-allow-credentials"], "true");
    assert.match(res.headers.vary, /\borigin\b/i);
  }
});

both("an origin that is not listed gets no permission", async () => {
  for (const origin of ["https://evil.example", "https://app.example.evil", "http://app.example", "null"]) {
    const res = await request(listed, "GET", Q, from(origin));
    assert.notEqual(res.headers["access-control-allow-origin"], origin);
    assert.notEqual(res.headers["access-control-allow-origin"], "*");
  }
});

both("any origin: *", async () => {
  assert.equal((await request(any, "GET", Q, from(GOOD))).headers["access-control-allow-origin"], "*");
});

both("errors carry the headers too", async () => {
  const res = await request(listed, "GET", "/engine.io/?EIO=4&transport=abc", from(GOOD));
  assert.equal(res.status, 400);
  assert.equal(res.headers["access-control-allow-origin"], GOOD);
});

both("OPTIONS: 204 with the methods", async () => {
  const res = await request(listed, "OPTIONS", Q, from(GOOD, { "access-control-request-method": "POST", "access-control-request-headers": "x-custom" }));
  assert.equal(res.status, 204);
  assert.match(res.headers["access-control-allow-methods"], /GET/);
  assert.match(res.headers["access-control-allow-methods"], /POST/);
  assert.equal(res.headers["access-control-allow-origin"], GOOD);
  assert.match(res.headers["access-control-allow-headers"], /x-custom|\*/i);
});

ours("a websocket from an origin that is not listed is refused, one without an origin is not", async () => {
  await assert.rejects(Ws.open(listed, undefined, { path: "/engine.io/", origin: "https://evil.example" }), (e) => e.status === 400 && JSON.parse(e.body).code === 3);
  for (const origin of [GOOD, undefined]) (await Ws.open(listed, undefined, { path: "/engine.io/", origin })).end();
});

both("the cookie comes with the polling handshake and only there", async () => {
  const res = await request(listed, "GET", Q);
  const { sid } = JSON.parse(res.body.slice(1));
  assert.deepEqual(res.headers["set-cookie"], [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
  const post = await request(listed, "POST", `${Q}&sid=${sid}`, { body: "4x" });
  const get = await request(listed, "GET", `${Q}&sid=${sid}`);
  assert.deepEqual([post.headers["set-cookie"], get.headers["set-cookie"]], [undefined, undefined]);
});

both("no cookie unless configured", async () => {
  assert.equal((await request(off, "GET", Q)).headers["set-cookie"], undefined);
});
