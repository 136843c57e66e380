// A bridge to a broker we did not write: mosquitto on the other side, both ways, while either process ends or is killed.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MOSQUITTO, connect, name } from "../lib/mqtt.mjs";
import { answers, freePort } from "../lib/port.mjs";
import { within } from "../lib/raw.mjs";
import { api } from "../lib/rest.mjs";
import { ours, start } from "../lib/sut.mjs";

// Debian has it where only root looks.
const PROGRAM = MOSQUITTO === "mosquitto" && existsSync("/usr/sbin/mosquitto") ? "/usr/sbin/mosquitto" : MOSQUITTO;
const COUNT = 100;
const WAIT_MS = 20_000;

/** A mosquitto that keeps its sessions in a folder when it is told to end. */
async function mosquitto(t) {
  const folder = await mkdtemp(join(tmpdir(), "trunkline-mosquitto-"));
  await chmod(folder, 0o777);
  t.after(() => rm(folder, { recursive: true, force: true }));
  const broker = { host: "127.0.0.1", port: await freePort() };
  const lines = [
    "allow_anonymous true", "persistence true", `persistence_location ${folder}/`, "max_queued_messages 0", "log_dest stderr",
    ...(process.getuid() === 0 ? ["user root"] : []), `listener ${broker.port} 127.0.0.1`, "",
  ];
  await writeFile(join(folder, "mosquitto.conf"), lines.join("\n"));
  broker.start = async () => {
    broker.child = spawn(PROGRAM, ["-c", join(folder, "mosquitto.conf")], { stdio: "ignore" });
    broker.gone = new Promise((resolve) => broker.child.once("exit", resolve));
    while (!(await answers(broker.port))) {
      assert.equal(broker.child.exitCode, null, "mosquitto does not start");
      await new Promise((r) => setTimeout(r, 20));
    }
  };
  broker.end = async (signal) => {
    broker.child.kill(signal);
    await broker.gone;
  };
  t.after(() => broker.child?.kill("SIGKILL"));
  await broker.start();
  return broker;
}

const rules = [
  { direction: "both", filter: "x/#", qos: 2 },
  { direction: "out", filter: "up/#", remote_prefix: "plant/" },
  { direction: "in", filter: "down/+", local_prefix: "hq/" },
];
const bridge = (broker, more = {}) => ({ name: "b", url: `mqtt://127.0.0.1:${broker.port}`, backoff_min_ms: 50, backoff_max_ms: 200, ...more, rules });

/** Asks the bridge until it is so. */
async function bridged(server, isSo = ({ state }) => state === "connected") {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const { json } = await api(server, "GET", "/v1/bridges");
    if (isSo(json.items[0])) return json.items[0];
    if (Date.now() > deadline) throw new Error(JSON.stringify(json));
    await new Promise((r) => setTimeout(r, 20));
  }
}

/** A client whose session lasts. */
const lasting = (t, server, clientId) => connect(t, server, { clientId, clean: false, expiry: 3600 });
const numbers = (from, count = COUNT) => Array.from({ length: count }, (_, n) => from + n);
async function publish(client, topic, from, count = COUNT) {
  for (const n of numbers(from, count)) await client.publish(topic, `${n}`, { qos: 1 });
}
/** Takes messages of a topic until all of these have come; each at least once. */
async function until(client, topic, wanted) {
  const open = new Set(wanted);
  while (open.size) {
    const message = await client.take((p) => p.cmd === "publish" && p.topic === topic, WAIT_MS, `one of ${open.size} messages`);
    open.delete(Number(message.payload));
  }
}

for (const version of ["5", "3.1.1"]) {
  ours(`mosquitto over a bridge of ${version}: names, QoS, retained values, and no echo`, async (t) => {
    const broker = await mosquitto(t);
    const server = await start("mqtt", { bridges: [bridge(broker, { version })] });
    t.after(() => server.stop());
    await bridged(server);
    const [here, there] = [await connect(t, server), await connect(t, broker)];
    await here.subscribe(["x/#", "up/#", "hq/#"], { qos: 2 });
    await there.subscribe(["x/#", "plant/#", "down/#"], { qos: 2 });
    for (const qos of [0, 1, 2]) {
      await here.publish("x/here", `${qos}`, { qos });
      await there.publish("x/there", `${qos}`, { qos });
      for (const client of [here, there]) {
        for (const topic of ["x/here", "x/there"]) {
          const message = await client.take((p) => p.cmd === "publish" && p.topic === topic);
          assert.deepEqual([message.payload.toString(), message.qos], [`${qos}`, qos]);
        }
      }
    }
    await here.publish("up/1", "a", { qos: 1, retain: true });
    assert.equal((await there.message()).topic, "plant/up/1");
    await there.publish("down/1", "b", { qos: 1, retain: true });
    await there.message();
    assert.deepEqual([(await here.message()).topic, (await here.message()).topic].sort(), ["hq/down/1", "up/1"]);
    for (const [side, topic] of [[broker, "plant/up/1"], [server, "hq/down/1"]]) {
      const late = await connect(t, side);
      await late.subscribe(topic, { qos: 1 });
      assert.equal((await late.message()).retain, true);
    }
    // Whatever would come back has had its time behind all this.
    await Promise.all([here.settled(), there.settled()]);
    assert.deepEqual([here.rest(), there.rest()], [[], []]);
  });
}

ours("mosquitto ends, is killed and comes back: nothing acknowledged is lost, either way", async (t) => {
  const broker = await mosquitto(t);
  const server = await start("mqtt", { bridges: [bridge(broker)] });
  t.after(() => server.stop());
  await bridged(server);
  const here = await connect(t, server);
  await here.subscribe("x/#", { qos: 1 });
  const id = name();
  let there = await lasting(t, broker, id);
  await there.subscribe("x/#", { qos: 1 });
  await publish(here, "x/here", 0);
  await publish(there, "x/there", 0);
  await until(there, "x/here", numbers(0));
  await until(here, "x/there", numbers(0));
  // It keeps its sessions when it ends in order, and nothing new when it is killed.
  for (const [from, signal] of [[1000, "SIGTERM"], [2000, "SIGKILL"]]) {
    await broker.end(signal);
    await publish(here, "x/here", from);
    // What was sent before the end was noticed is on its way, and is sent again.
    await bridged(server, ({ queued, in_flight: sent }) => queued + sent >= COUNT);
    await broker.start();
    there = await lasting(t, broker, id);
    await until(there, "x/here", numbers(from));
    await publish(there, "x/there", from);
    await until(here, "x/there", numbers(from));
  }
});

ours("Trunkline is killed in the middle: what it, or mosquitto, has acknowledged arrives", async (t) => {
  const broker = await mosquitto(t);
  const folder = await mkdtemp(join(tmpdir(), "trunkline-bridge-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const settings = { storeDir: join(folder, "store"), bridges: [bridge(broker)] };
  let server = await start("mqtt", settings);
  t.after(() => server.stop());
  await bridged(server);
  const there = await connect(t, broker);
  await there.subscribe("x/here", { qos: 1 });
  const id = name();
  let here = await lasting(t, server, id);
  await here.subscribe("x/there", { qos: 1 });
  for (let round = 1; round <= 3; round++) {
    const taken = [];
    const publishing = (async () => {
      const publisher = await connect(t, server);
      for (let n = round * 10_000; ; n++) {
        await publisher.publish("x/here", `${n}`, { qos: 1 });
        taken.push(n);
      }
    })().catch(() => {});
    await until(there, "x/here", [round * 10_000 + 20]);
    await publish(there, "x/there", round * 10_000, 20);
    server.child.kill("SIGKILL");
    await server.exited;
    await within(publishing, WAIT_MS, "end of the publisher");
    await publish(there, "x/there", round * 10_000 + 20, 20);
    // What came before the end was acknowledged, and does not come again.
    const had = new Set(here.rest().map(({ payload }) => Number(payload)));
    server = await start("mqtt", { ...settings, publicListen: `${server.host}:${server.port}` });
    here = await lasting(t, server, id);
    assert.equal(here.connack.sessionPresent, true);
    await until(there, "x/here", taken.filter((n) => n > round * 10_000 + 20));
    await until(here, "x/there", numbers(round * 10_000, 40).filter((n) => !had.has(n)));
  }
});
