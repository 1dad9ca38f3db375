// Node's `ws` through the proxy: CONNECT by hand, TLS inside; logs in, prints what comes back, then how it was closed.
import http from "node:http";
import tls from "node:tls";
import WebSocket from "ws";

const target = new URL(process.argv[2]);
const proxy = new URL(process.env.HTTPS_PROXY);
const login = Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`);
const connect = http.request({
  host: proxy.hostname,
  port: proxy.port,
  method: "CONNECT",
  path: target.host,
  headers: { Host: target.host, "Proxy-Authorization": `Basic ${login.toString("base64")}` },
});
connect.on("connect", (answer, socket) => {
  if (answer.statusCode !== 200) throw new Error(`CONNECT: ${answer.statusCode}`);
  const secure = tls.connect({ socket, servername: target.hostname }, () => talk(secure));
});
connect.end();

function talk(secure) {
  const socket = new WebSocket(target, { createConnection: () => secure });
  socket.on("open", () => {
    console.log(`extensions ${socket.extensions}`);
    const identify = JSON.stringify({ op: 2, d: { token: process.env.EXAMPLE_API_KEY } });
    socket.send(identify.slice(0, 30), { fin: false });
    socket.ping("between");
    socket.send(identify.slice(30), { fin: true });
    socket.send(Buffer.alloc(100000, "é"));
  });
  socket.on("pong", (payload) => console.log(`pong ${payload}`));
  socket.on("message", (data, binary) => console.log(binary ? `binary ${data.length}` : `text ${data}`));
  socket.on("close", (code) => console.log(`close ${code}`));
}
