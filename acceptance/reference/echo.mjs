import { Server } from "engine.io";
import { engineOptions, http, ready } from "./args.mjs";

const engine = new Server(engineOptions);
engine.attach(http, { path: "/engine.io/" });
engine.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
ready();
