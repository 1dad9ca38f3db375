// One call with the runtime's own fetch: `call_fetch.mjs URL`.
const url = process.argv.at(-1);
const answer = await fetch(url, { headers: { "x-probe": "1" } });
console.log(answer.status, await answer.text());
