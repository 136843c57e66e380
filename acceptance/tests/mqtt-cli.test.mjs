// mosquitto_pub and mosquitto_sub: each of their options that the server has to answer for.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { elapsed, name } from "../lib/mqtt.mjs";
import { mosquittoSub, run } from "../lib/mqtt-clients.mjs";
import { PATIENCE_MS, within } from "../lib/raw.mjs";

const server = await shared("mqtt", { shards: 4 });
const VERSIONS = [3, 4, 5];
const done = (child) => within(child.done, PATIENCE_MS, "end of the program");
async function pub(version, ...args) {
  const { code, errors } = await done(run("mosquitto_pub", server, version, args));
  assert.equal(code, 0, errors);
}
const sub = (t, version, ...args) => mosquittoSub(t, server, version, args);
/** Messages of a mosquitto_sub that ends by itself after `count` of them. */
async function take(version, count, ...args) {
  const lines = [];
  const { code, errors } = await done(run("mosquitto_sub", server, version, ["-C", `${count}`, "-W", "8", "-F", "%j", ...args], (line) => lines.push(JSON.parse(line))));
  assert.equal(code, 0, errors);
  return lines;
}
const flags = (m) => [m.payload, m.qos, m.retain];

for (const version of VERSIONS) {
  for (const qos of [0, 1, 2]) {
    both(`-V ${version} -q ${qos}: published and received`, async (t) => {
      const topic = name();
      const { next } = await sub(t, version, "-t", `${topic}/#`, "-q", "2");
      await pub(version, "-t", `${topic}/a`, "-m", "text", "-q", `${qos}`);
      await pub(version, "-t", `${topic}/a`, "-n", "-q", `${qos}`);
      assert.deepEqual(flags(await next()), ["text", qos, 0]);
      assert.equal((await next()).payloadlen, 0);
    });

    both(`-V ${version} -r -q ${qos}: retained, cleared with -r -n`, async (t) => {
      const topic = name();
      await pub(version, "-t", topic, "-m", "kept", "-r", "-q", `${qos}`);
      assert.deepEqual((await take(version, 1, "-t", topic, "-q", "2")).map(flags), [["kept", qos, 1]]);
      await pub(version, "-t", topic, "-r", "-n", "-q", `${qos}`);
      const { next } = await sub(t, version, "-t", topic, "-q", "2");
      await pub(version, "-t", topic, "-m", "live");
      assert.deepEqual(flags(await next()), ["live", 0, 0]);
    });

    if (qos > 0) {
      both(`-V ${version} -c -q ${qos}: what was published meanwhile waits`, async (t) => {
        const [topic, id] = [name(), name()];
        const session = ["-i", id, "-c", "-t", topic, "-q", "2", ...(version === 5 ? ["-x", "600"] : [])];
        const { child } = await sub(t, version, ...session);
        child.kill("SIGKILL");
        await child.done;
        for (const text of ["a", "b", "c"]) await pub(version, "-t", topic, "-m", text, "-q", `${qos}`);
        assert.deepEqual((await take(version, 3, ...session)).map((m) => m.payload), ["a", "b", "c"]);
      });
    }

    for (const retain of [false, true]) {
      both(`-V ${version} --will-qos ${qos}${retain ? " --will-retain" : ""}: a killed client's will`, async (t) => {
        const topic = name();
        const { next } = await sub(t, version, "-t", topic, "-q", "2");
        const { child } = await sub(t, version, "-t", name(), "--will-topic", topic, "--will-payload", "gone", "--will-qos", `${qos}`, ...(retain ? ["--will-retain"] : []));
        child.kill("SIGKILL");
        assert.deepEqual(flags(await next()), ["gone", qos, 0]);
        if (retain) assert.deepEqual((await take(version, 1, "-t", topic, "-q", "2")).map(flags), [["gone", qos, 1]]);
      });
    }
  }

  // In 5.0 it says 04, which asks for the will.
  both(`-V ${version}: SIGTERM is an orderly end, ${version === 5 ? "with" : "without"} the will`, async (t) => {
    const topic = name();
    const { next } = await sub(t, version, "-t", topic);
    const { child } = await sub(t, version, "-t", name(), "--will-topic", topic, "--will-payload", "gone");
    child.kill("SIGTERM");
    await child.done;
    await pub(version, "-t", topic, "-m", "end");
    assert.equal((await next()).payload, version === 5 ? "gone" : "end");
  });

  both(`-V ${version} -U, several -t, -T`, async (t) => {
    const root = name();
    const { next } = await sub(t, version, "-t", `${root}/a`, "-t", `${root}/b/+`, "-U", `${root}/a`, "-q", "1");
    await pub(version, "-t", `${root}/a`, "-m", "unsubscribed", "-q", "1");
    await pub(version, "-t", `${root}/b/c`, "-m", "subscribed", "-q", "1");
    assert.equal((await next()).payload, "subscribed");
  });

  both(`-V ${version} --remove-retained`, async () => {
    const root = name();
    for (const leaf of ["a", "b"]) await pub(version, "-t", `${root}/${leaf}`, "-m", leaf, "-r", "-q", "1");
    // It says nothing of what it removes, and ends with 27 when its time is over.
    assert.equal((await done(run("mosquitto_sub", server, version, ["-t", `${root}/#`, "--remove-retained", "-W", "1"]))).code, 27);
    await pub(version, "-t", `${root}/c`, "-m", "c", "-r", "-q", "1");
    assert.deepEqual((await take(version, 1, "-t", `${root}/#`)).map((m) => m.payload), ["c"]);
  });

  both(`-V ${version}: -l publishes a line after the other, -f a file`, async (t) => {
    const topic = name();
    const { next } = await sub(t, version, "-t", topic, "-q", "1");
    const child = run("mosquitto_pub", server, version, ["-t", topic, "-f", new URL(import.meta.url).pathname, "-q", "1"]);
    assert.equal((await done(child)).code, 0);
    assert.ok((await next()).payload.startsWith("// mosquitto_pub and mosquitto_sub"));
  });
}

both("-V mqttv5 -x 1: the session is gone after it", async (t) => {
  const [topic, id] = [name(), name()];
  const session = ["-i", id, "-c", "-x", "1", "-t", topic, "-q", "1"];
  const { child } = await sub(t, 5, ...session);
  child.kill("SIGTERM");
  await child.done;
  await pub(5, "-t", topic, "-m", "too late", "-q", "1");
  await elapsed(t, server, 3);
  const { next } = await sub(t, 5, ...session);
  await pub(5, "-t", topic, "-m", "fresh", "-q", "1");
  assert.equal((await next()).payload, "fresh");
});

both("-D: every property of PUBLISH arrives", async (t) => {
  const topic = name();
  const { next } = await sub(t, 5, "-t", topic, "-q", "1", "-D", "subscribe", "subscription-identifier", "77");
  const properties = [["payload-format-indicator", "1"], ["message-expiry-interval", "60"], ["content-type", "text/plain"], ["response-topic", "a/b"], ["correlation-data", "cd"], ["user-property", "k", "v"]];
  await pub(5, "-t", topic, "-m", "x", "-q", "1", ...properties.flatMap((p) => ["-D", "publish", ...p]));
  const got = (await next()).properties;
  assert.deepEqual({ ...got, "message-expiry-interval": 0 }, {
    "payload-format-indicator": 1, "message-expiry-interval": 0, "content-type": "text/plain", "response-topic": "a/b", "correlation-data": "cd", "user-properties": { k: "v" }, ...(got["subscription-identifier"] ? { "subscription-identifier": 77 } : {}),
  });
});

both("-D will: delay and properties", async (t) => {
  const topic = name();
  const { next } = await sub(t, 5, "-t", topic, "-q", "1");
  const { child } = await sub(t, 5, "-c", "-i", name(), "-x", "100", "-t", name(), "--will-topic", topic, "--will-payload", "late", "-D", "will", "will-delay-interval", "1", "-D", "will", "content-type", "t");
  const began = performance.now();
  child.kill("SIGKILL");
  const message = await next();
  assert.deepEqual([message.payload, message.properties["content-type"]], ["late", "t"]);
  assert.ok(performance.now() - began > 500);
});

for (const [test, options] of [
  [both, { "receive-maximum": "1" }],
  [both, { "maximum-packet-size": "200" }],
  // The reference's window of one stays taken by the message it did not send.
  [ours, { "receive-maximum": "1", "maximum-packet-size": "200" }],
]) {
  test(`-D connect: ${Object.keys(options).join(", ")}`, async (t) => {
    const topic = name();
    const { next } = await sub(t, 5, "-t", topic, "-q", "2", ...Object.entries(options).flatMap(([k, v]) => ["-D", "connect", k, v]));
    if (options["maximum-packet-size"]) await pub(5, "-t", topic, "-m", "x".repeat(300), "-q", "1");
    for (let i = 0; i < 10; i++) await pub(5, "-t", topic, "-m", `${i}`, "-q", "2");
    for (let i = 0; i < 10; i++) assert.equal((await next()).payload, `${i}`);
  });
}

both("-t $share: work is split between processes", async (t) => {
  const topic = name();
  const members = [];
  for (let i = 0; i < 2; i++) members.push(await sub(t, 5, "-t", `$share/g/${topic}`, "-q", "1"));
  for (let i = 0; i < 10; i++) await pub(5, "-t", topic, "-m", `${i}`, "-q", "1");
  const waiting = members.map(({ next }) => next());
  const got = [];
  while (got.length < 10) {
    const [at, { payload }] = await Promise.race(waiting.map((message, i) => message.then((m) => [i, m])));
    got.push(payload);
    waiting[at] = members[at].next();
  }
  waiting.forEach((message) => message.catch(() => {}));
  assert.deepEqual(got.sort(), Array.from({ length: 10 }, (_, i) => `${i}`));
});

ours("publishing to $SYS with QoS 1 ends with the refusal", async () => {
  const { errors } = await done(run("mosquitto_pub", server, 5, ["-t", "$SYS/x", "-m", "x", "-q", "1"]));
  assert.match(errors, /[Nn]ot authorized/);
});

both("takeover ends the older mosquitto_sub only", async (t) => {
  const [topic, id] = [name(), name()];
  const first = await sub(t, 4, "-i", id, "-t", topic, "-q", "1");
  first.child.kill("SIGSTOP");
  const second = await sub(t, 4, "-i", id, "-t", topic, "-q", "1");
  await pub(4, "-t", topic, "-m", "for the second", "-q", "1");
  assert.equal((await second.next()).payload, "for the second");
});
