// One call with one library of Node: `call_node.cjs LIBRARY URL`.
const [library, url] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.SAMPLE_API_KEY ?? "none"}` };

const calls = {
  fetch: async () => (await fetch(url, { headers })).text(),
  undici: async () => {
    const { EnvHttpProxyAgent, fetch: call } = require("undici");
    return (await call(url, { headers, dispatcher: new EnvHttpProxyAgent() })).text();
  },
  https: () =>
    new Promise((resolve, reject) => {
      const request = require(new URL(url).protocol.slice(0, -1)).get(url, { headers }, (answer) => {
        let text = "";
        answer.on("data", (piece) => (text += piece));
        answer.on("end", () => resolve(text));
      });
      request.on("error", reject);
    }),
  ws: () =>
    new Promise((resolve, reject) => {
      const socket = new (require("ws"))(url.replace(/^http/, "ws"), { headers });
      socket.on("open", () => socket.send("hello"));
      socket.on("message", (data) => (socket.close(), resolve(String(data))));
      socket.on("error", reject);
    }),
  axios: async () => JSON.stringify((await require("axios").get(url, { headers })).data),
};

calls[library]().then(console.log, (error) => {
  console.error(error.message, error.cause ? `(${error.cause.code ?? error.cause.message})` : "");
  process.exit(1);
});
