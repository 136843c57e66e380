// node lib/mqtt-knocking.mjs URL CLIENT-ID PROTOCOL-VERSION: MQTT.js as a program has it, which comes back by itself as long as it wants
// to. Prints what happens, a word a line, and ends once it is connected or has given up.
import mqtt from "mqtt";

const [url, clientId, version] = process.argv.slice(2);
const client = mqtt.connect(url, { clientId, protocolVersion: Number(version), reconnectPeriod: 100 });
client.on("connect", () => {
  console.log("connect");
  client.end();
});
client.on("error", (error) => console.log("error", error.code));
client.on("close", () => console.log("close"));
client.on("reconnect", () => console.log("reconnect"));
