// Starts the server under test and stops it. SUT=reference starts npm socket.io or, for MQTT, mosquitto instead.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { after, test } from "node:test";
import { toToml } from "./config.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
export const BIN_DIR = resolve(process.env.TRUNKLINE_BIN_DIR ?? join(HERE, "../../target/debug"));
const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 30_000;

export const REFERENCE = process.env.SUT === "reference";

/** A test of a rule where Trunkline differs from the reference on purpose, or which the reference does not have. */
export const ours = (name, fn) => test(name, { skip: REFERENCE && "rule of Trunkline", timeout: 120_000 }, fn);
/** A test that holds for both. */
export const both = (name, fn) => test(name, { timeout: 120_000 }, fn);

function command(kind, files) {
  const io = ["--ready-file", files.ready];
  if (REFERENCE) {
    const script = join(HERE, "../reference", { echo: "echo.mjs", mqtt: "mqtt.mjs" }[kind] ?? "server.mjs");
    return [process.execPath, [script, ...io, "--settings", files.settings]];
  }
  if (kind === "dev") {
    return [join(BIN_DIR, "trunkline"), ["dev", "--public", "127.0.0.1:0", "--private", "127.0.0.1:0", ...io, "--config", files.config]];
  }
  if (kind === "serve") {
    const own = ["server.public_listen=127.0.0.1:0", "server.private_listen=127.0.0.1:0", "server.drain_window_ms=0", "store.dir=data"];
    return [join(BIN_DIR, "trunkline"), ["serve", ...io, "--config", files.config, ...own.flatMap((setting) => ["--set", setting])]];
  }
  const example = kind === "echo" ? "engineio_echo" : "acceptance";
  return [join(BIN_DIR, "examples", example), [...io, "--config", files.config]];
}

async function readReady(child, path, log) {
  const deadline = Date.now() + READY_MS_MAX;
  for (;;) {
    const text = await readFile(path, "utf8").catch(() => "");
    if (text) return JSON.parse(text);
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`server ended before it was ready:\n${log()}`);
    if (Date.now() > deadline) throw new Error(`server not ready in ${READY_MS_MAX} ms:\n${log()}`);
    // The ready file has no event to wait for that works on every file system: it is polled.
    await new Promise((r) => setTimeout(r, 20));
  }
}

/**
 * @param {"acceptance"|"echo"|"dev"|"mqtt"|"serve"} kind
 * @param {object|string} settings see README.md; of `serve` the text of the configuration
 * @returns {Promise<{url, ws, mqtt, mqttTls, mqttWs, host, port, key, privateUrl, child, exited, log, stop}>}
 */
export async function start(kind = "acceptance", settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), "trunkline-acceptance-"));
  const files = { ready: join(folder, "ready.json"), config: join(folder, "config.toml"), settings: join(folder, "settings.json") };
  if (REFERENCE) await writeFile(files.settings, JSON.stringify(settings));
  else await writeFile(files.config, kind === "serve" ? settings : toToml(kind, settings));
  const [program, args] = command(kind, files);
  const child = spawn(program, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (d) => (output = (output + d).slice(-20_000)));
  const exited = new Promise((r) => {
    child.once("error", (error) => r({ error }));
    child.once("exit", (code, signal) => r({ code, signal }));
  });
  exited.then(({ error }) => error && (output += `${program}: ${error.message}`));
  child.once("error", () => child.exitCode ??= -1);
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
      await exited;
      clearTimeout(timer);
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const ready = await readReady(child, files.ready, () => output);
    const secure = settings.tls ? "s" : "";
    const [host, port] = ready.public.split(":");
    return {
      url: `http${secure}://${ready.public}`,
      ws: `ws${secure}://${ready.public}`,
      // The reference speaks MQTT over WebSocket on a port of its own.
      mqttWs: `ws${secure}://${ready.mqttWs ?? ready.public}/mqtt`,
      host,
      port: Number(port),
      mqtt: ready.mqtt,
      mqttTls: ready.mqtt_tls,
      sqsUrl: ready.sqs && `http://${ready.sqs}`,
      privateUrl: ready.private && `http://${ready.private}`,
      key: ready.key,
      folder,
      child,
      exited,
      log: () => output,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** One server for all tests of a file; it is stopped when they are done. */
export async function shared(kind, settings) {
  const server = await start(kind, settings);
  after(() => server.stop());
  return server;
}
