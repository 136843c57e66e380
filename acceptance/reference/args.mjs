// Command line of the reference servers: --ready-file PATH --settings FILE.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { "ready-file": { type: "string" }, settings: { type: "string" } } });
export const settings = JSON.parse(readFileSync(values.settings, "utf8"));

const files = () => ({ cert: readFileSync(settings.tls.cert), key: readFileSync(settings.tls.key) });
export const http = settings.tls ? createTlsServer(files()) : createServer();
if (settings.tls) process.on("SIGHUP", () => http.setSecureContext(files()));

export const engineOptions = {
  pingInterval: settings.pingIntervalMs ?? 25_000,
  pingTimeout: settings.pingTimeoutMs ?? 20_000,
  upgradeTimeout: settings.upgradeTimeoutMs ?? 10_000,
  maxHttpBufferSize: settings.maxPayloadBytes ?? 1e6,
  allowEIO3: settings.eio3 ?? false,
  cookie: settings.cookie ? { name: settings.cookie, httpOnly: true, sameSite: "lax" } : false,
  ...(settings.corsOrigins && { cors: { origin: settings.corsOrigins.includes("*") ? "*" : settings.corsOrigins, credentials: settings.corsCredentials ?? false } }),
};

export function ready() {
  http.listen(0, "127.0.0.1", () => {
    writeFileSync(`${values["ready-file"]}.part`, JSON.stringify({ public: `127.0.0.1:${http.address().port}`, private: null, key: null }));
    renameSync(`${values["ready-file"]}.part`, values["ready-file"]);
  });
  process.on("SIGTERM", () => process.exit(0));
}
