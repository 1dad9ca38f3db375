// The stock SDK, as its documentation shows it: no base URL, no proxy, no agent.
const OpenAI = require('openai');
new OpenAI().models.list().then(page => console.log(page.data[0].id));
