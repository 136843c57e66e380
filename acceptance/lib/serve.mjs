// node lib/serve.mjs KIND SETTINGS-JSON: starts the server under test for programs in other languages, prints where it is as one
// line of JSON, and stops it when standard input ends.
import { start } from "./sut.mjs";

const [kind, settings = "{}"] = process.argv.slice(2);
const server = await start(kind, JSON.parse(settings));
const { url, host, port, mqttWs, privateUrl = null, sqsUrl = null, key = null } = server;
console.log(JSON.stringify({ url, host, port, mqttWs, privateUrl, sqsUrl, key }));
process.stdin.resume();
process.stdin.on("end", async () => {
  await server.stop();
  process.exit(0);
});
