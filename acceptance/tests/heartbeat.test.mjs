// Pings and time-outs, measured.
import assert from "node:assert/strict";
import { both, shared } from "../lib/sut.mjs";
import { connected, next } from "../lib/clients.mjs";
import { Polling, Ws, request } from "../lib/raw.mjs";

const INTERVAL = 300;
const TIMEOUT = 400;
// A loaded machine delays what a test sees. Times are taken before what starts the server's clock, so that nothing may come early
// (5 ms are for two clocks that round); late is what would be another interval or time-out. A server that is late is so each time, a
// machine that is busy is not.
const SLACK = 380;
const ATTEMPTS = 5;
const server = await shared("acceptance", { pingIntervalMs: INTERVAL, pingTimeoutMs: TIMEOUT, eio3: true });
class Late extends Error {}
const since = (t) => performance.now() - t;
const soon = (ms, expected) => {
  if (ms > expected + SLACK) throw new Late(`${ms} ms instead of ${expected}`);
};
const about = (ms, expected) => {
  assert.ok(ms >= expected - 5, `${ms} ms instead of ${expected}`);
  soon(ms, expected);
};

/** A test of times, which has to be in time once. */
function timed(name, fn) {
  both(name, async (t) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await fn(t);
      } catch (error) {
        if (!(error instanceof Late) || attempt === ATTEMPTS) throw error;
      }
    }
  });
}

timed("websocket: the first ping comes after pingInterval, never at once; each pong starts the next interval", async () => {
  let began = performance.now();
  const ws = await Ws.open(server);
  await ws.next();
  ws.send("40");
  for (let i = 0; i < 3; i++) {
    let message;
    do message = await ws.next();
    while (message !== "2");
    about(since(began), INTERVAL);
    began = performance.now();
    ws.send("3");
  }
  ws.end();
});

timed("websocket: no pong, closed after pingInterval + pingTimeout", async () => {
  const began = performance.now();
  const ws = await Ws.open(server);
  await ws.next();
  assert.equal(await ws.next(), "2");
  await ws.close_within();
  about(since(began), INTERVAL + TIMEOUT);
});

both("polling: the session ends pingTimeout after the ping, whether it was fetched or not", async () => {
  for (const fetched of [true, false]) {
    const s = await Polling.open(server);
    if (fetched) assert.equal((await s.get()).body, "2");
    await new Promise((r) => setTimeout(r, (fetched ? 0 : INTERVAL) + TIMEOUT + 300));
    const res = await s.get();
    assert.deepEqual([res.status, res.json.code], [400, 1]);
  }
});

timed("polling: a waiting GET gets the ping, a session that answers lives on", async () => {
  let began = performance.now();
  const s = await Polling.open(server);
  for (let i = 0; i < 4; i++) {
    assert.equal((await s.get()).body, "2");
    about(since(began), INTERVAL);
    began = performance.now();
    await s.post("3");
  }
});

timed("socket.io-client stays connected over many intervals", async (t) => {
  for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
    const socket = await connected(t, server, "/", { transports });
    let pings = 0;
    socket.io.on("ping", () => pings++);
    const reason = await next(socket, "disconnect", 1_600).then(([reason]) => reason, () => {});
    // It did not answer in time itself.
    if (reason) throw new Late(reason);
    assert.ok(pings >= 3, `${pings} pings`);
  }
});

timed("socket.io-client behind a dead network: ping timeout, then it reconnects", async (t) => {
  const socket = await connected(t, server, "/", { transports: ["websocket"] });
  // The server's pings no longer reach the engine.
  socket.io.engine.transport.ws.onmessage = () => {};
  const began = performance.now();
  const [reason] = await next(socket, "disconnect");
  // Both ends have the same deadline, whichever sees it first.
  assert.match(reason, /^(ping timeout|transport close)$/);
  soon(since(began), INTERVAL + TIMEOUT);
  await next(socket, "auth");
});

timed("EIO3: the client pings, the server answers and never pings; silence ends the session", async () => {
  const ws = await Ws.open(server, "EIO=3&transport=websocket");
  await ws.next();
  assert.equal(await ws.next(), "40");
  assert.equal(await ws.next(), '42["auth",{}]');
  let began;
  for (let i = 0; i < 3; i++) {
    await new Promise((r) => setTimeout(r, INTERVAL));
    began = performance.now();
    ws.send("2");
    assert.equal(await ws.next(), "3");
  }
  await ws.close_within();
  about(since(began), INTERVAL + TIMEOUT);
});

both("a request for a session whose deadline has passed is refused by every shard", async () => {
  const sessions = await Promise.all(Array.from({ length: 20 }, () => Polling.open(server)));
  await new Promise((r) => setTimeout(r, INTERVAL + TIMEOUT + 300));
  const answers = await Promise.all(sessions.map((s) => request(server, "GET", s.path)));
  assert.deepEqual(answers.map((a) => a.status), answers.map(() => 400));
});
