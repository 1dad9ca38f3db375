// Reads a JSON array of authorization calls, writes [allowed, failed] of each.
const { readFileSync, writeFileSync } = require("node:fs");
const cedar = require("@cedar-policy/cedar-wasm/nodejs");

const calls = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const answers = calls.map((call) => {
  const answer = cedar.isAuthorized(call);
  if (answer.type !== "success") return [false, true, answer.errors];
  const failed = answer.response.diagnostics.errors.length > 0;
  return [answer.response.decision === "allow" && !failed, failed];
});
writeFileSync(process.argv[3], JSON.stringify(answers));
