// {mosquitto, paho-mqtt, mqtt.js} x {publisher, subscriber} x {3.1.1, 5.0} x QoS x {live, retained, will, shared, expiry}.
import assert from "node:assert/strict";
import { after } from "node:test";
import { both, shared } from "../lib/sut.mjs";
import { CLIENTS, paho } from "../lib/mqtt-clients.mjs";
import { name } from "../lib/mqtt.mjs";

const server = await shared("mqtt", { shards: 4 });
after(() => paho.end());
const QOS = [0, 1, 2];
const VERSIONS = [4, 5];

/** What each subscriber, by the QoS it was granted, must see of a message that was published with `qos`. */
async function seen(subscribers, topic, payload, qos, retain = false) {
  for (const [granted, subscriber] of subscribers.entries()) {
    const { expiry, ...message } = await subscriber.next();
    assert.deepEqual(message, { topic, payload, qos: Math.min(qos, granted), retain });
    subscriber.expiry = expiry;
  }
}

const FEATURES = {
  async live({ publish, subscribers, root }) {
    for (const qos of QOS) {
      await publish({ topic: `${root}/live`, payload: `live ${qos}`, qos });
      await seen(subscribers, `${root}/live`, `live ${qos}`, qos);
    }
  },
  async retained({ publish, subscribe, subscribers, root }) {
    for (const qos of QOS) {
      const topic = `${root}/retained/${qos}`;
      await publish({ topic, payload: `kept ${qos}`, qos, retain: true });
      await seen(subscribers, topic, `kept ${qos}`, qos);
      const late = await subscribe(topic, 2);
      const { expiry, ...message } = await late.next();
      assert.deepEqual(message, { topic, payload: `kept ${qos}`, qos, retain: true });
      await late.stop();
      await publish({ topic, payload: "", qos, retain: true });
      for (const subscriber of subscribers) assert.ok(!(await subscriber.next()).payload);
    }
  },
  async will({ die, subscribers, root }) {
    for (const qos of QOS) {
      await die({ topic: `${root}/will`, payload: `will ${qos}`, qos, retain: false });
      await seen(subscribers, `${root}/will`, `will ${qos}`, qos);
    }
  },
  async shared({ publish, subscribe, subscribers, root }) {
    const topic = `${root}/shared`;
    const members = [await subscribe(`$share/${root}/${topic}`, 2), await subscribe(`$share/${root}/${topic}`, 2)];
    const first = members.map((member) => member.next(20_000).catch(() => undefined));
    for (const qos of QOS) {
      await publish({ topic, payload: `shared ${qos}`, qos });
      await seen(subscribers, topic, `shared ${qos}`, qos);
      // Whichever member it is.
      const got = await Promise.race(first);
      const at = await Promise.race(first.map((f, i) => f.then(() => i)));
      first[at] = members[at].next(20_000).catch(() => undefined);
      assert.deepEqual([got.payload, got.qos], [`shared ${qos}`, qos]);
    }
    for (const member of members) await member.stop();
  },
  async expiry({ publish, subscribers, root, versions: [publisher, subscriber] }) {
    if (publisher !== 5) return;
    for (const qos of QOS) {
      await publish({ topic: `${root}/expiry`, payload: `expires ${qos}`, qos, expiry: 100 });
      await seen(subscribers, `${root}/expiry`, `expires ${qos}`, qos);
      for (const { expiry } of subscribers) assert.ok(subscriber === 5 ? expiry >= 95 && expiry <= 100 : !expiry, `${expiry}`);
    }
  },
};

const product = (...lists) => lists.reduce((rows, list) => rows.flatMap((row) => list.map((item) => [...row, item])), [[]]);
for (const [from, publisher, to, subscriber] of product(Object.keys(CLIENTS), VERSIONS, Object.keys(CLIENTS), VERSIONS)) {
  both(`${from} ${publisher} -> ${to} ${subscriber}`, async (t) => {
    const root = name("x");
    const subscribe = (filter, qos) => CLIENTS[to].subscribe(t, server, { version: subscriber, filter, qos });
    const publish = (options) => CLIENTS[from].publish(server, { version: publisher, ...options });
    const die = (will) => CLIENTS[from].die(server, { version: publisher, will });
    const subscribers = await Promise.all(QOS.map((qos) => subscribe(`${root}/#`, qos)));
    for (const [feature, check] of Object.entries(FEATURES)) {
      await check({ publish, subscribe, die, subscribers, root, versions: [publisher, subscriber] })
        .catch((error) => Promise.reject(Object.assign(error, { message: `${feature}: ${error.message}` })));
    }
    for (const s of subscribers) await s.stop();
  });
}
