// Socket.IO packets by hand: what is accepted, what closes the connection.
import assert from "node:assert/strict";
import { both, ours, shared } from "../lib/sut.mjs";
import { Polling, Ws, joined } from "../lib/raw.mjs";

const server = await shared("acceptance", { connectTimeoutMs: 400 });
const TOO_DEEP = 100_000;

both("namespaces without the comma, with id 0, with a large id", async () => {
  const ws = await joined(server, "/custom");
  ws.send('42/custom,0["message-with-ack",1]');
  assert.equal(await ws.next(), "43/custom,0[1]");
  ws.send('42/custom,4294967295["message-with-ack"]');
  assert.equal(await ws.next(), "43/custom,4294967295[]");
  ws.send("40/chat");
  assert.match(await ws.next(), /^40\/chat,\{"sid":"[^"]{20}"\}$/);
  assert.equal(await ws.next(), '42/chat,["auth",{}]');
  ws.send("41/chat");
  ws.send('42/custom,7["message-with-ack"]');
  assert.equal(await ws.next(), "43/custom,7[]");
  ws.end();
});

both("the CONNECT reply of / has only the sid when recovery is off", async () => {
  const ws = await joined(server);
  assert.deepEqual(Object.keys(ws.connect), ["sid"]);
  ws.end();
});

both("the name of an unknown namespace is echoed as sent", async () => {
  const ws = await Ws.open(server);
  await ws.next();
  ws.send("40/adm?x=1,");
  assert.equal(await ws.next(), '44/adm?x=1,{"message":"Invalid namespace"}');
  ws.send("40/custom?x=1");
  assert.equal(await ws.next(), '44/custom?x=1,{"message":"Invalid namespace"}');
  ws.end();
});

both("event names may be numbers", async () => {
  const ws = await joined(server);
  ws.send('42[1,"x"]');
  ws.send('421["message-with-ack"]');
  assert.equal(await ws.next(), "431[]");
  ws.end();
});

both("an ack with an unknown id is ignored", async () => {
  const ws = await joined(server);
  ws.send('4399["x"]');
  ws.send('421["message-with-ack"]');
  assert.equal(await ws.next(), "431[]");
  ws.end();
});

both("ten attachments pass, header and attachments come back together and in order", async () => {
  const ws = await joined(server);
  const holders = Array.from({ length: 10 }, (_, num) => ({ _placeholder: true, num }));
  ws.send(`4510-["message",${JSON.stringify(holders)}]`);
  for (let i = 0; i < 10; i++) ws.send(Buffer.from([i]));
  assert.equal(await ws.next(), `4510-["message-back",${JSON.stringify(holders)}]`);
  for (let i = 0; i < 10; i++) assert.deepEqual(await ws.next(), Buffer.from([i]));
  ws.end();
});

both("placeholders are numbered in order of appearance on the way out", async () => {
  const ws = await joined(server);
  ws.send('452-3["message-with-ack",{"b":{"_placeholder":true,"num":1}},[{"_placeholder":true,"num":0}]]');
  ws.send(Buffer.from("first"));
  ws.send(Buffer.from("second"));
  assert.equal(await ws.next(), '462-3[{"b":{"_placeholder":true,"num":0}},[{"_placeholder":true,"num":1}]]');
  assert.deepEqual([await ws.next(), await ws.next()].map(String), ["second", "first"]);
  ws.end();
});

for (const [name, ...frames] of [
  ["EVENT with an object", "42{}"],
  ["EVENT with an empty array", "42[]"],
  ["EVENT with bad JSON", '42["x"'],
  ["EVENT with an ack id that is no number", '42abc["x"]'],
  ["EVENT with a fraction as ack id", '421.5["x"]'],
  ["EVENT whose name is an object", "42[{}]"],
  ["a reserved event name", '42["connect"]'],
  ["a reserved event name (disconnecting)", '42["disconnecting"]'],
  ["a reserved event name (newListener)", '42["newListener"]'],
  ["DISCONNECT with payload", '41{"x":1}'],
  ["ACK whose payload is no array", "431{}"],
  ["CONNECT with an array", "40/custom,[1]"],
  ["a second CONNECT", "40"],
  ["CONNECT_ERROR from a client", '44{"message":"x"}'],
  ["an unknown type", "49"],
  ["an event for a namespace that was not joined", '42/chat,["x"]'],
  ["BINARY_EVENT without a count", '45["x"]'],
  ["BINARY_EVENT with a count that is no number", '45x-["x"]'],
  ["eleven attachments", `4511-["message",${"{}" + ',{"_placeholder":true,"num":0}'.repeat(11)}]`],
  ["text while attachments are missing", '451-["message",{"_placeholder":true,"num":0}]', '42["x"]'],
  ["binary without a header", Buffer.from([1])],
  ["a placeholder out of range", '451-["message",{"_placeholder":true,"num":7}]', Buffer.from([1])],
  ["a placeholder with a negative number", '451-["message",{"_placeholder":true,"num":-1}]', Buffer.from([1])],
]) {
  both(`${name} closes the connection`, async () => {
    const ws = await joined(server);
    for (const frame of frames) ws.send(frame);
    await ws.close_within();
  });
}

ours("EVENT with no payload closes the connection", async () => {
  // The reference takes it for an event without a name and goes on.
  const ws = await joined(server);
  ws.send("42");
  await ws.close_within();
});

both("an event before CONNECT closes", async () => {
  const ws = await Ws.open(server);
  await ws.next();
  ws.send('42["message"]');
  await ws.close_within();
});

both("an event before its CONNECT was answered closes", async () => {
  const ws = await Ws.open(server);
  await ws.next();
  ws.send('40{"delayMs":300}');
  ws.send('42["message"]');
  await ws.close_within();
});

both("a violation in one namespace ends all namespaces of the connection", async () => {
  const ws = await joined(server, "/custom");
  ws.send("40/chat,");
  await ws.until((m) => m.startsWith('42/chat,["auth"'));
  ws.send("42/chat,{}");
  await ws.close_within();
});

both("no namespace joined in time: the connection is closed", async () => {
  const began = Date.now();
  const ws = await Ws.open(server);
  await ws.next();
  await ws.close_within();
  const took = Date.now() - began;
  assert.ok(took >= 380 && took < 3_000, `${took} ms`);
});

both("after the first join and its 41 the connection stays", async () => {
  const ws = await joined(server);
  ws.send("41");
  await assert.rejects(ws.close_within(800), /no close/);
  ws.send("40/custom,");
  await ws.until((m) => m.startsWith("40/custom,"));
  ws.end();
});

ours("41 and 40 in one read join again", async () => {
  const s = await Polling.open(server);
  await s.post("40");
  await s.until((p) => p.startsWith('42["auth"'));
  assert.equal((await s.post("41\x1e40")).status, 200);
  await s.until((p) => p.startsWith('42["auth"'));
});

both("messages in one POST payload: event with attachments and more", async () => {
  const s = await Polling.open(server);
  await s.post("40");
  await s.until((p) => p.startsWith('42["auth"'));
  await s.post('451-1["message-with-ack",{"_placeholder":true,"num":0}]\x1ebAQID\x1e422["message-with-ack","x"]');
  const seen = await s.until((p) => p === '432["x"]');
  assert.deepEqual(seen, ['461-1[{"_placeholder":true,"num":0}]', "bAQID", '432["x"]']);
});

ours("JSON nested 100,000 deep closes and does no harm", async () => {
  const ws = await joined(server);
  const other = await joined(server);
  ws.send(`42["message",${"[".repeat(TOO_DEEP)}${"]".repeat(TOO_DEEP)}]`);
  await ws.close_within();
  other.send('421["message-with-ack","alive"]');
  assert.equal(await other.next(), '431["alive"]');
  other.end();
});

both("JSON nested 60 deep passes", async () => {
  const ws = await joined(server);
  const deep = `${"[".repeat(60)}${"]".repeat(60)}`;
  ws.send(`421["message-with-ack",${deep}]`);
  assert.equal(await ws.next(), `431[${deep}]`);
  ws.end();
});

both("numbers, escapes and spaces of the client are not changed in meaning", async () => {
  const ws = await joined(server);
  ws.send('421[ "message-with-ack" , 9007199254740993 , 1.0 , "\\u00e9\\/\\ud83d\\ude00" , {"b":1,"a":2} ]');
  const reply = JSON.parse((await ws.next()).slice(3));
  assert.deepEqual(reply, [9007199254740992, 1, "é/\u{1f600}", { b: 1, a: 2 }]);
  ws.end();
});
