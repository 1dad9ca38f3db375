// Node's fetch with NODE_USE_ENV_PROXY.
const answer = await fetch(process.argv[2], {
  method: "POST",
  headers: { Authorization: `Bearer ${process.env.EXAMPLE_API_KEY}` },
  body: "from node",
});
console.log(answer.status, await answer.text());
