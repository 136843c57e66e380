// Ports for programs that cannot be asked which one they took.
import net from "node:net";

/** A port nobody uses now. Another process may take it before the program does: whoever cannot bear that tries again. */
export const freePort = () => new Promise((resolve) => {
  const probe = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

/** Whether somebody listens there. */
export const answers = (port) => new Promise((resolve) => {
  const socket = net.connect(port, "127.0.0.1", () => (socket.destroy(), resolve(true)));
  socket.once("error", () => resolve(false));
});
