// A client that knows nothing of queues: npm install socket.io-client, then node client.mjs
import { io } from "socket.io-client";

const socket = io(process.argv[2] ?? "http://127.0.0.1:8000");
socket.on("accepted", ({ order, total }) => {
  console.log(`order ${order} is accepted: ${total}`);
  socket.close();
});
socket.on("connect", async () => {
  await socket.timeout(10_000).emitWithAck("order", { id: 1, items: [{ name: "tea", price: 4, count: 2 }] });
  console.log("order 1 is stored, whatever happens now");
});
