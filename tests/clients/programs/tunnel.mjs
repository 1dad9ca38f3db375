// Node's own http and tls: CONNECT by hand, TLS inside, one request. For versions whose fetch knows no proxies.
import http from "node:http";
import https from "node:https";
import tls from "node:tls";

const target = new URL(process.argv[2]);
const proxy = new URL(process.env.HTTPS_PROXY);
const login = Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`);
const connect = http.request({
  host: proxy.hostname,
  port: proxy.port,
  method: "CONNECT",
  path: target.host,
  // Node would send the proxy's own name: https-proxy-agent and undici say what RFC 9110 asks for, and so do we.
  headers: { Host: target.host, "Proxy-Authorization": `Basic ${login.toString("base64")}` },
});
connect.on("connect", (answer, socket) => {
  if (answer.statusCode !== 200) throw new Error(`CONNECT: ${answer.statusCode}`);
  const secure = tls.connect({ socket, servername: target.hostname }, () => {
    const request = https.request(target, {
      method: "POST",
      createConnection: () => secure,
      headers: { Authorization: `Bearer ${process.env.EXAMPLE_API_KEY}` },
    });
    request.on("response", async (response) => {
      let body = "";
      for await (const piece of response) body += piece;
      console.log(response.statusCode, body);
      secure.end();
    });
    request.end("from node");
  });
});
connect.end();
