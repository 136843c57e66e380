// The MQTT reference, mosquitto (Debian's, or the program that MOSQUITTO names): a private instance on free ports.
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { answers, freePort } from "../lib/port.mjs";

const { values } = parseArgs({ options: { "ready-file": { type: "string" }, settings: { type: "string" } } });
const settings = JSON.parse(readFileSync(values.settings, "utf8"));
// It gives up root for a user of its own, who has to read its files.
const folder = join(dirname(values.settings), "mosquitto");
chmodSync(dirname(folder), 0o755);
mkdirSync(folder);
const file = (name, text) => (writeFileSync(join(folder, name), text, { mode: 0o644 }), join(folder, name));

const KEYS = {
  mqttKeepAliveS: "max_keepalive",
  mqttReceiveMax: "max_inflight_messages",
  mqttAliasMax: "max_topic_alias",
  mqttPacketBytesMax: "max_packet_size",
};
const IGNORED = new Set(["shards", "drainMs", "restKeys", "handshakeTimeoutMs", "mqttSessionExpirySMax"]);
const WORDS = { "subscribe": "read", "publish": "write", "publish,subscribe": "readwrite" };
const rule = ({ filter, deny, allow }) => `topic ${deny ? "deny" : WORDS[[...allow].sort().join()]} ${filter}`;

function configuration(port, wsPort) {
  const { mqttAcl, mqttUsers, tls, ...rest } = settings;
  const lines = ["allow_anonymous true", "persistence false", "sys_interval 1", "log_dest stderr"];
  if (mqttAcl) lines.push(`acl_file ${file("acl", [...mqttAcl.map(rule), "topic readwrite #", ""].join("\n"))}`);
  if (mqttUsers) {
    lines.push(`password_file ${file("users", "")}`);
    for (const { name, password } of mqttUsers) execFileSync("mosquitto_passwd", ["-b", join(folder, "users"), name, password]);
    chmodSync(join(folder, "users"), 0o644);
  }
  // Aliases and certificates are settings of a listener.
  const ofListener = tls ? [`certfile ${file("cert.pem", readFileSync(tls.cert))}`, `keyfile ${file("key.pem", readFileSync(tls.key))}`] : [];
  for (const [name, value] of Object.entries(rest)) {
    if (IGNORED.has(name)) continue;
    if (!KEYS[name]) throw new Error(`mosquitto has no setting for ${name}`);
    (name === "mqttAliasMax" ? ofListener : lines).push(`${KEYS[name]} ${value}`);
  }
  lines.push(`listener ${port} 127.0.0.1`, ...ofListener, `listener ${wsPort} 127.0.0.1`, "protocol websockets", ...ofListener);
  return file("mosquitto.conf", `${lines.join("\n")}\n`);
}

async function run() {
  const [port, wsPort] = [await freePort(), await freePort()];
  const child = spawn(process.env.MOSQUITTO ?? "mosquitto", ["-c", configuration(port, wsPort)], { stdio: ["ignore", "inherit", "inherit"] });
  child.once("error", (error) => (console.error(error.message), process.exit(1)));
  while (child.exitCode === null && !((await answers(port)) && (await answers(wsPort)))) await new Promise((r) => setTimeout(r, 20));
  if (child.exitCode !== null) return undefined;
  const ready = { public: `127.0.0.1:${port}`, mqttWs: `127.0.0.1:${wsPort}`, private: null, key: null };
  writeFileSync(`${values["ready-file"]}.part`, JSON.stringify(ready));
  renameSync(`${values["ready-file"]}.part`, values["ready-file"]);
  return child;
}

let child;
for (let tries = 0; !child && tries < 5; tries++) child = await run();
if (!child) process.exit(1);
child.once("exit", (code) => process.exit(code ?? 1));
process.on("SIGTERM", () => child.kill("SIGTERM"));
