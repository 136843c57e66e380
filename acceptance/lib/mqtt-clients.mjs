// Three MQTT clients we did not write behind one interface: mosquitto_pub and mosquitto_sub, paho-mqtt, mqtt.js.
//
// subscribe(t, server, {version, filter, qos}) -> {next(), stop()}, once the server has granted it
// publish(server, {version, topic, payload, qos, retain, expiry}), once the server has acknowledged it
// die(server, {version, will: {topic, payload, qos, retain}}): connects and is gone without DISCONNECT
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import mqtt from "mqtt";
import { name } from "./mqtt.mjs";
import { PATIENCE_MS, within } from "./raw.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const WAIT_MS = PATIENCE_MS;
const LEVELS = { 3: "mqttv31", 4: "mqttv311", 5: "mqttv5" };

/** A list that can be waited on. */
export class Inbox {
  constructor() {
    Object.assign(this, { list: [], waiting: [] });
  }
  put(item) {
    const waiter = this.waiting.shift();
    if (waiter) waiter(item);
    else this.list.push(item);
  }
  next(ms = WAIT_MS) {
    return this.list.length ? Promise.resolve(this.list.shift()) : within(new Promise((resolve) => this.waiting.push(resolve)), ms, "message");
  }
}

/** Runs a program of mosquitto-clients; standard output line by line. */
export function run(program, server, version, args, line = () => {}) {
  // Into a pipe mosquitto_sub would keep what it says, until a message comes.
  const child = spawn("stdbuf", ["-oL", program, "-h", server.host, "-p", `${server.port}`, "-V", LEVELS[version], ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (d) => (errors += d));
  createInterface({ input: child.stdout }).on("line", line);
  child.done = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, errors }));
  });
  child.done.catch(() => {});
  return child;
}

/** mosquitto_sub that has been granted its filter: the child and its messages. */
export async function mosquittoSub(t, server, version, args) {
  const inbox = new Inbox();
  let granted;
  const ready = new Promise((resolve) => (granted = resolve));
  // -d is the only way to learn of the SUBACK; its lines are no JSON.
  const child = run("mosquitto_sub", server, version, ["-d", "-F", "%j", ...args], (text) => {
    if (text.startsWith("{")) inbox.put(JSON.parse(text));
    else if (text.startsWith("Subscribed")) granted();
  });
  t?.after(() => child.kill("SIGKILL"));
  const early = child.done.then(({ code, errors }) => Promise.reject(new Error(`mosquitto_sub ended with ${code}: ${errors}`)));
  early.catch(() => {});
  await within(Promise.race([ready, early]), WAIT_MS, "SUBACK");
  return { child, next: (ms) => inbox.next(ms) };
}

export const mosquitto = {
  async subscribe(t, server, { version, filter, qos }) {
    const { child, next } = await mosquittoSub(t, server, version, ["-i", name("ms"), "-t", filter, "-q", `${qos}`]);
    const read = ({ topic, payload, qos: got, retain, properties }) => ({ topic, payload, qos: got, retain: retain === 1, expiry: properties?.["message-expiry-interval"] });
    return { next: async () => read(await next()), stop: () => (child.kill("SIGTERM"), child.done) };
  },
  async publish(server, { version, topic, payload, qos, retain, expiry }) {
    const args = ["-i", name("mp"), "-t", topic, "-m", payload, "-q", `${qos}`, ...(retain ? ["-r"] : []), ...(expiry ? ["-D", "publish", "message-expiry-interval", `${expiry}`] : [])];
    const { code, errors } = await within(run("mosquitto_pub", server, version, args).done, WAIT_MS, "end of mosquitto_pub");
    if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}: ${errors}`);
  },
  async die(server, { version, will }) {
    const args = ["-i", name("md"), "-t", name("none"), "--will-topic", will.topic, "--will-payload", will.payload, "--will-qos", `${will.qos}`, ...(will.retain ? ["--will-retain"] : [])];
    const { child } = await mosquittoSub(undefined, server, version, args);
    child.kill("SIGKILL");
    await child.done;
  },
};

const mqttjs = {
  connect: (server, options) => mqtt.connectAsync(`mqtt://${server.host}:${server.port}`, { clientId: name("js"), reconnectPeriod: 0, ...options }),
  async subscribe(t, server, { version, filter, qos }) {
    const client = await this.connect(server, { protocolVersion: version });
    t.after(() => client.end(true));
    const inbox = new Inbox();
    client.on("message", (topic, payload, packet) => inbox.put({ topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain, expiry: packet.properties?.messageExpiryInterval }));
    await client.subscribeAsync(filter, { qos });
    return { next: (ms) => inbox.next(ms), stop: () => client.endAsync() };
  },
  async publish(server, { version, topic, payload, qos, retain, expiry }) {
    const client = await this.connect(server, { protocolVersion: version });
    await client.publishAsync(topic, payload, { qos, retain, ...(expiry && { properties: { messageExpiryInterval: expiry } }) });
    await client.endAsync();
  },
  async die(server, { version, will }) {
    const client = await this.connect(server, { protocolVersion: version, will: { ...will, payload: Buffer.from(will.payload) } });
    client.stream.destroy();
    await client.endAsync(true);
  },
};

/** One Python process serves all of a file's paho clients: py/mqtt_driver.py says in which words. */
class Paho {
  #start() {
    if (this.child) return;
    const venv = join(HERE, "../.venv/bin/python3");
    this.child = spawn(existsSync(venv) ? venv : "python3", [join(HERE, "../py/mqtt_driver.py")], { stdio: ["pipe", "pipe", "inherit"] });
    this.child.unref();
    Object.assign(this, { calls: new Map(), inboxes: new Map(), count: 0 });
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      const { call, error, subscriber, ...rest } = JSON.parse(line);
      if (subscriber !== undefined) return this.inboxes.get(subscriber)?.put(rest);
      const { resolve, reject } = this.calls.get(call);
      this.calls.delete(call);
      if (error) reject(new Error(error));
      else resolve(rest);
    });
  }
  #ask(op, server, options) {
    this.#start();
    const call = ++this.count;
    if (op === "subscribe") this.inboxes.set(call, new Inbox());
    const done = new Promise((resolve, reject) => this.calls.set(call, { resolve, reject }));
    this.child.stdin.write(`${JSON.stringify({ call, op, host: server.host, port: server.port, client_id: name("py"), ...options })}\n`);
    return within(done, WAIT_MS, `paho: ${op}`).then(() => call);
  }
  async subscribe(t, server, { version, filter, qos }) {
    const subscriber = await this.#ask("subscribe", server, { version, filter, qos });
    const stop = () => this.#ask("stop", server, { subscriber }).then(() => this.inboxes.delete(subscriber));
    return { next: (ms) => this.inboxes.get(subscriber).next(ms), stop };
  }
  publish(server, options) {
    return this.#ask("publish", server, options);
  }
  die(server, options) {
    return this.#ask("die", server, options);
  }
  end() {
    this.child?.stdin.end();
  }
}

export const paho = new Paho();
export const CLIENTS = { mosquitto, "paho-mqtt": paho, "mqtt.js": mqttjs };
