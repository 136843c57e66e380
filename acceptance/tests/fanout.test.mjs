// Broadcasts over 4 shards: everybody once, each sender's order kept.
import assert from "node:assert/strict";
import { both, shared } from "../lib/sut.mjs";
import { Polling, joined } from "../lib/raw.mjs";

const server = await shared("acceptance", { shards: 4 });
const CLIENTS = 80;
const SENDERS = 8;
const MESSAGES = 60;
const count = (n) => Array.from({ length: n }, (_, i) => i);

/** The numbers of each sender in the order in which they arrived. */
function bySender(packets) {
  const seen = count(SENDERS).map(() => []);
  for (const packet of packets) {
    const [, sender, n] = /"hit",(\d+),(\d+)\]$/.exec(packet) ?? [];
    if (n !== undefined) seen[sender].push(Number(n));
  }
  return seen;
}
async function crowd(nsp, room) {
  const sockets = await Promise.all(count(CLIENTS).map(() => joined(server, nsp)));
  await Promise.all(sockets.map((ws) => (ws.send(`42${nsp},0["join","${room}"]`), ws.until((m) => m === `43${nsp},0["ok"]`))));
  return sockets;
}

for (const [name, event] of [["a room", '"to-room","r"'], ["the namespace", '"others"']]) {
  both(`${SENDERS} senders to ${CLIENTS} websocket clients in ${name}`, async () => {
    const nsp = `/dyn-fan${event.length}`;
    const sockets = await crowd(nsp, "r");
    for (let n = 0; n < MESSAGES; n++) {
      for (let s = 0; s < SENDERS; s++) sockets[s].send(`42${nsp},${s === SENDERS - 1 && n === MESSAGES - 1 ? "9" : ""}[${event},"hit",${s},${n}]`);
    }
    for (const [i, ws] of sockets.entries()) {
      const expected = count(SENDERS).map((s) => (s === i ? [] : count(MESSAGES)));
      const packets = [];
      while (bySender(packets).flat().length < expected.flat().length) packets.push(await ws.next());
      assert.deepEqual(bySender(packets), expected, `client ${i}`);
      // Nothing comes twice: what is asked for now is answered behind everything else.
      ws.send(`42${nsp},5["message-with-ack","end"]`);
      assert.deepEqual(bySender(await ws.until((m) => m.startsWith(`43${nsp},5[`))).flat(), []);
      ws.end();
    }
  });
}

both("30 polling clients get every message of a broadcast once, in order", async () => {
  const nsp = "/dyn-fanpoll";
  const pollers = await Promise.all(count(30).map(async () => {
    const s = await Polling.open(server);
    await s.post(`40${nsp},`);
    await s.until((p) => p.startsWith(`42${nsp},["auth"`));
    return s;
  }));
  const sender = await joined(server, nsp);
  for (let n = 0; n < 100; n++) sender.send(`42${nsp},["others","hit",0,${n}]`);
  await Promise.all(pollers.map(async (s) => {
    const seen = await s.until((p) => p.endsWith('"hit",0,99]'));
    assert.deepEqual(bySender(seen)[0], count(100));
  }));
  sender.end();
});
