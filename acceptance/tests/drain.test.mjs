// SIGTERM: no new handshakes, transports closed over a while, exit code 0.
import assert from "node:assert/strict";
import http from "node:http";
import { ours, start } from "../lib/sut.mjs";
import { connected, next } from "../lib/clients.mjs";
import { PATIENCE_MS, Ws, joined, request, within } from "../lib/raw.mjs";

const DRAIN_MS = 1_500;
const settings = { drainMs: DRAIN_MS };

async function drained(t) {
  const server = await start("acceptance", settings);
  t.after(() => server.stop());
  return server;
}

ours("idle: exit code 0 soon", async (t) => {
  const server = await drained(t);
  server.child.kill("SIGTERM");
  assert.deepEqual(await within(server.exited, DRAIN_MS + PATIENCE_MS, "exit"), { code: 0, signal: null });
});

ours("SIGINT does the same", async (t) => {
  const server = await drained(t);
  server.child.kill("SIGINT");
  assert.deepEqual(await within(server.exited, DRAIN_MS + PATIENCE_MS, "exit"), { code: 0, signal: null });
});

ours("transports are closed spread over the drain time, then exit code 0", async (t) => {
  const server = await drained(t);
  const sockets = await Promise.all(Array.from({ length: 40 }, () => joined(server)));
  const began = performance.now();
  server.child.kill("SIGTERM");
  const times = await Promise.all(sockets.map((ws) => within(ws.closed, DRAIN_MS + PATIENCE_MS, "close").then(() => performance.now() - began)));
  assert.deepEqual(await within(server.exited, PATIENCE_MS, "exit"), { code: 0, signal: null });
  const spread = Math.max(...times) - Math.min(...times);
  assert.ok(spread > DRAIN_MS * 0.4, `all within ${spread} ms`);
  assert.ok(Math.max(...times) < DRAIN_MS + 3_000, `last after ${Math.max(...times)} ms`);
});

ours("new handshakes get 503, on open connections and on new ones", async (t) => {
  const server = await drained(t);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const path = "/socket.io/?EIO=4&transport=polling";
  assert.equal((await request(server, "GET", path, { agent })).status, 200);
  const others = await Promise.all(Array.from({ length: 20 }, () => joined(server)));
  server.child.kill("SIGTERM");
  await Promise.race(others.map((ws) => ws.closed));
  const kept = await request(server, "GET", path, { agent }).then((r) => r.status, (e) => e.code);
  assert.ok([503, "ECONNRESET", "ECONNREFUSED"].includes(kept), String(kept));
  const fresh = await request(server, "GET", path);
  assert.equal(fresh.status, 503);
  assert.deepEqual([fresh.headers["connection"], Number(fresh.headers["retry-after"]) > 0], ["close", true]);
  await assert.rejects(Ws.open(server));
  await within(server.exited, DRAIN_MS + PATIENCE_MS, "exit");
});

ours("the health endpoint says not ready while draining, and still alive", async (t) => {
  const server = await drained(t);
  const others = await Promise.all(Array.from({ length: 20 }, () => joined(server)));
  assert.equal((await fetch(`${server.privateUrl}/health/ready`)).status, 200);
  server.child.kill("SIGTERM");
  await Promise.race(others.map((ws) => ws.closed));
  assert.equal((await fetch(`${server.privateUrl}/health/ready`)).status, 503);
  assert.equal((await fetch(`${server.privateUrl}/health/live`)).status, 200);
});

ours("clients see a lost transport, not a kick, and would come back", async (t) => {
  const server = await drained(t);
  for (const transports of [["polling"], ["websocket"]]) {
    const socket = await connected(t, server, "/custom", { transports, reconnectionDelay: 60_000, reconnectionDelayMax: 60_000 });
    socket.gone = next(socket, "disconnect", DRAIN_MS + PATIENCE_MS).then(([reason]) => [reason, socket.active]);
    (server.sockets ??= []).push(socket);
  }
  server.child.kill("SIGTERM");
  for (const socket of server.sockets) {
    const [reason, active] = await socket.gone;
    assert.match(reason, /^transport (close|error)$/);
    assert.equal(active, true);
  }
});

ours("what was acknowledged before SIGTERM was delivered: broadcasts up to the end reach those still there", async (t) => {
  const server = await drained(t);
  const [a, b] = await Promise.all([joined(server), joined(server)]);
  for (let i = 0; i < 200; i++) a.send(`42${i}["others","hit",${i}]`);
  await a.until((m) => m.startsWith("43199["));
  server.child.kill("SIGTERM");
  await b.until((m) => m.includes('"hit",199'));
});
