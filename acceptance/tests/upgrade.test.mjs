// Upgrades with messages in flight in both directions: nothing lost, nothing doubled, order kept.
import assert from "node:assert/strict";
import { NodeWebSocket, NodeXHR } from "engine.io-client";
import { both, shared } from "../lib/sut.mjs";
import { ask, collect, next, open, open2, settled, upgraded } from "../lib/clients.mjs";

const server = await shared("acceptance", { eio3: true });
const AFTER = 100;
const sequence = (n) => Array.from({ length: n }, (_, i) => i);

/** A websocket that starts late, so that the session is busy on polling before the probe begins. */
class Late extends NodeWebSocket {
  doOpen() {
    setTimeout(() => super.doOpen(), 40);
  }
}

/** Sends and asks for messages all the time, from before the probe until well after the upgrade. */
async function busy(socket) {
  const back = collect(socket, "message-back");
  const flood = collect(socket, "flooded");
  const on = { polling: 0, websocket: 0 };
  let sent = 0;
  let asked = 0;
  let failed;
  upgraded(socket).catch((e) => (failed = e));
  while (on.websocket < AFTER) {
    if (failed) throw failed;
    on[socket.io.engine.transport.name]++;
    socket.emit("message", sent, sent % 7 ? "text" : Buffer.from([sent & 255]));
    if (sent++ % 5 === 0) {
      asked++;
      socket.emit("flood", "flooded", 5, 50);
    }
    // The pace: a spinning loop would starve the upgrade it wants to meet.
    await new Promise((r) => setTimeout(r, 1));
  }
  await settled(socket);
  assert.ok(on.polling > 5, JSON.stringify(on));
  assert.deepEqual(back.map(([i]) => i), sequence(sent));
  assert.deepEqual(flood.map(([i]) => i), Array.from({ length: asked }, () => sequence(5)).flat());
}

for (let round = 1; round <= 5; round++) {
  both(`socket.io-client 4, round ${round}`, async (t) => {
    const socket = open(t, server, "/custom", { transports: [NodeXHR, Late] });
    await next(socket, "connect");
    await busy(socket);
  });

  both(`socket.io-client 2 (EIO3), round ${round}`, async (t) => {
    const socket = open2(t, server, "/custom", { transports: ["polling"] });
    await next(socket, "connect");
    // Client 2 takes no transport classes: its probe is started by hand.
    setTimeout(() => socket.io.engine.probe("websocket"), 40);
    await busy(socket);
  });
}

both("30 clients upgrade at the same time", async (t) => {
  const sockets = sequence(30).map(() => open(t, server));
  await Promise.all(sockets.map(async (socket, n) => {
    await next(socket, "connect");
    const back = collect(socket, "message-back");
    for (let i = 0; i < 50; i++) socket.emit("message", n, i);
    await upgraded(socket);
    for (let i = 50; i < 100; i++) socket.emit("message", n, i);
    await settled(socket);
    assert.deepEqual(back, sequence(100).map((i) => [n, i]));
  }));
});

both("a broadcast during everybody's upgrade reaches everybody once", async (t) => {
  const sockets = await Promise.all(sequence(20).map(async () => {
    const socket = open(t, server, "/dyn-upgrade");
    socket.hits = collect(socket, "hit");
    await next(socket, "auth");
    return socket;
  }));
  const over = Promise.all(sockets.map(upgraded));
  let done = false;
  over.then(() => (done = true));
  let sent = 0;
  while (!done || sent < 50) await ask(sockets[sent % 20], "all", "hit", sent++);
  await Promise.all(sockets.map(settled));
  for (const { hits } of sockets) assert.deepEqual(hits.map(([i]) => i), sequence(sent));
});
