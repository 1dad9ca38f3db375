// The stock SDK, as its documentation shows it: no host, no proxy, no agent.
const stripe = require('stripe')(process.env.STRIPE_API_KEY);
stripe.balance.retrieve().then(balance => console.log(balance.available[0].amount));
