// Wills: when they are published, when not, and with what.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { bytes, connect, dial, exactly, name, payloads, quiet } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
const will = (topic, { delay, ...rest } = {}) => ({ topic, payload: "will", qos: 1, retain: false, properties: delay === undefined ? {} : { willDelayInterval: delay }, ...rest });
async function watching(t, topic) {
  const watch = await connect(t, server);
  await watch.subscribe(topic, { qos: 2 });
  return watch;
}
/** Milliseconds from now to the message. */
async function waits(watch, ms) {
  const began = performance.now();
  await watch.message(ms);
  return performance.now() - began;
}

for (const version of [3, 4, 5]) {
  both(`level ${version}: a cut connection publishes it, DISCONNECT does not`, async (t) => {
    const topic = name();
    const watch = await watching(t, topic);
    await (await connect(t, server, { version, will: will(topic, { payload: "no" }) })).end();
    (await connect(t, server, { version, will: will(topic) })).cut();
    assert.deepEqual(payloads([await watch.message()]), ["will"]);
    await quiet(watch, watch);
    assert.deepEqual(watch.rest(), []);
  });

  both(`level ${version}: each QoS and RETAIN`, async (t) => {
    for (const qos of [0, 1, 2]) {
      const topic = name();
      const watch = await watching(t, topic);
      (await connect(t, server, { version, will: will(topic, { qos, retain: true }) })).cut();
      assert.equal((await watch.message()).qos, qos);
      const late = await watching(t, topic);
      const message = await late.message();
      assert.deepEqual([message.payload.toString(), message.qos, message.retain], ["will", qos, true]);
    }
  });
}

for (const [test, code, published] of [[both, 0x00, false], [both, 0x04, true], [ours, 0x80, true], [ours, 0x81, true]]) {
  test(`5.0: DISCONNECT ${code.toString(16)} ${published ? "publishes" : "drops"} it`, async (t) => {
    const topic = name();
    const watch = await watching(t, topic);
    await (await connect(t, server, { will: will(topic) })).end(undefined, code);
    assert.equal((await exactly(watch, published ? 1 : 0)).length, published ? 1 : 0);
  });
}

both("5.0: its properties travel with it", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  const properties = { payloadFormatIndicator: true, messageExpiryInterval: 50, contentType: "t", responseTopic: "r", correlationData: Buffer.from([9]), userProperties: { a: "b" } };
  (await connect(t, server, { will: { topic, payload: Buffer.from("é"), qos: 1, retain: false, properties: { ...properties, willDelayInterval: 0 } } })).cut();
  const message = await watch.message();
  const { messageExpiryInterval, userProperties, ...rest } = message.properties;
  assert.ok(messageExpiryInterval >= 40 && messageExpiryInterval <= 50);
  assert.deepEqual({ ...rest, userProperties: { ...userProperties } }, { payloadFormatIndicator: true, contentType: "t", responseTopic: "r", correlationData: Buffer.from([9]), userProperties: { a: "b" } });
});

both("an empty payload and binary ones", async (t) => {
  for (const payload of [Buffer.alloc(0), Buffer.from([0, 255])]) {
    const topic = name();
    const watch = await watching(t, topic);
    (await connect(t, server, { will: will(topic, { payload }) })).cut();
    assert.equal(Buffer.compare((await watch.message()).payload, payload), 0);
  }
});

both("it is stored with CONNECT: a later CONNECT of the session without one has none", async (t) => {
  const [topic, clientId] = [name(), name()];
  const watch = await watching(t, topic);
  await (await connect(t, server, { clientId, expiry: 100, will: will(topic) })).end();
  (await connect(t, server, { clientId, clean: false, expiry: 100 })).cut();
  await quiet(watch, watch);
  assert.deepEqual(watch.rest(), []);
});

both("a protocol error of the client publishes it", async (t) => {
  for (const version of [4, 5]) {
    const topic = name();
    const watch = await watching(t, topic);
    const client = await connect(t, server, { version, will: will(topic) });
    client.send("00 00");
    await client.gone();
    await watch.message();
  }
});

both("delay: not before it has passed", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  (await connect(t, server, { expiry: 100, will: will(topic, { delay: 2 }) })).cut();
  const took = await waits(watch);
  assert.ok(took >= 1_000 && took < 7_500, `${took} ms`);
});

ours("delay and session expiry are exact: never early, at most a second late", async (t) => {
  for (const [expiry, delay, due] of [[100, 1, 1_000], [1, 100, 1_000], [2, 1, 1_000]]) {
    const topic = name();
    const watch = await watching(t, topic);
    (await connect(t, server, { expiry, will: will(topic, { delay }) })).cut();
    const took = await waits(watch);
    assert.ok(took >= due - 20 && took < due + 1_000, `expiry ${expiry}, delay ${delay}: ${took} ms`);
  }
});

ours("delay without session expiry: at once, the session ends with the connection", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  (await connect(t, server, { will: will(topic, { delay: 30 }) })).cut();
  const took = await waits(watch);
  assert.ok(took < 7_500, `${took} ms`);
});

both("delay beyond the session expiry: when the session ends", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  (await connect(t, server, { expiry: 1, will: will(topic, { delay: 30 }) })).cut();
  const took = await waits(watch);
  assert.ok(took < 7_500, `${took} ms`);
});

both("a connection of the session within the delay cancels it", async (t) => {
  const [topic, clientId] = [name(), name()];
  const watch = await watching(t, topic);
  (await connect(t, server, { clientId, expiry: 100, will: will(topic, { delay: 3, payload: "cancelled" }) })).cut();
  // Another session's clock that started later and runs as long.
  const second = await connect(t, server, { clientId, clean: false, expiry: 100 });
  (await connect(t, server, { expiry: 100, will: will(topic, { delay: 5, payload: "clock" }) })).cut();
  assert.deepEqual(payloads([await watch.message()]), ["clock"]);
  await second.settled();
});

ours("clean start within the delay ends the session: published at once", async (t) => {
  const [topic, clientId] = [name(), name()];
  const watch = await watching(t, topic);
  (await connect(t, server, { clientId, expiry: 100, will: will(topic, { delay: 60 }) })).cut();
  await connect(t, server, { clientId, clean: true });
  await watch.message();
});

// Takeover of a connection with a will, by [clean start of the new one, delay, expiry of the old one].
for (const [test, clean, delay, expiry, published] of [
  [both, true, 0, 0, true],
  [both, true, 0, 100, true],
  [ours, true, 60, 100, true],
  [both, false, 60, 100, false],
  [both, false, 0, 0, true],
  [ours, false, 60, 0, true],
  [ours, false, 0, 100, true],
]) {
  test(`takeover, clean start ${clean}, delay ${delay}, expiry ${expiry}: ${published ? "published at once" : "not published"}`, async (t) => {
    const [topic, clientId] = [name(), name()];
    const watch = await watching(t, topic);
    const first = await connect(t, server, { clientId, expiry, will: will(topic, { delay }) });
    await connect(t, server, { clientId, clean, expiry: 100 });
    await first.gone();
    assert.deepEqual(payloads(await exactly(watch, published ? 1 : 0)), published ? ["will"] : []);
  });
}

ours("3.1.1: takeover of a lasting session publishes it too", async (t) => {
  const [topic, clientId] = [name(), name()];
  const watch = await watching(t, topic);
  await connect(t, server, { version: 4, clientId, clean: false, will: will(topic) });
  await connect(t, server, { version: 4, clientId, clean: false });
  await watch.message();
});

ours("DISCONNECT may shorten the expiry and keep the will (04)", async (t) => {
  const topic = name();
  const watch = await watching(t, topic);
  await (await connect(t, server, { expiry: 100, will: will(topic, { delay: 60 }) })).end({ sessionExpiryInterval: 0 }, 0x04);
  await watch.message();
});

both("the will reaches a session that waits offline", async (t) => {
  const [topic, clientId] = [name(), name()];
  const watch = await connect(t, server, { clientId, expiry: 100 });
  await watch.subscribe(topic, { qos: 1 });
  await watch.end();
  const client = await connect(t, server, { will: will(topic) });
  client.cut();
  const seen = await watching(t, topic);
  await quiet(seen, seen);
  const again = await connect(t, server, { clientId, clean: false, expiry: 100 });
  assert.equal((await again.message()).payload.toString(), "will");
});

ours("a will that the client may not publish: the CONNECT is refused", async (t) => {
  await assert.rejects(connect(t, server, { will: will("$SYS/will") }), /refused with 135/);
  await assert.rejects(connect(t, server, { version: 4, will: will("$SYS/will") }), /refused with 5/);
});

both("a will topic with a wildcard is refused", async (t) => {
  for (const topic of ["a/#", "+"]) {
    const raw = await dial(t, server);
    const length = 14 + 1 + 2 + topic.length + 3;
    raw.send(Buffer.concat([bytes(`10 ${length.toString(16).padStart(2, "0")} 00 04 4d 51 54 54 05 06 00 3c 00 00 01 61 00 00 ${topic.length.toString(16).padStart(2, "0")}`), Buffer.from(topic), bytes("00 01 78")]));
    await raw.gone();
    assert.ok(raw.received.length === 0 || raw.received[3] >= 0x80);
  }
});
