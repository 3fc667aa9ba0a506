// CPlugin's own TypeScript SDK, unchanged: token, REST, and both hubs. Facts come in as one JSON line on stdin, steps go out as JSON lines on
// stdout; trust comes from NODE_EXTRA_CA_CERTS.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";

const report = (step, values = {}) => process.stdout.write(JSON.stringify({ step, ...values }) + "\n");

async function first(stream, count) {
  const items = [];
  for await (const item of stream) {
    items.push(item);
    if (items.length === count) break;
  }
  return items;
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const given = JSON.parse((await lines.next()).value);
const place = `${given.modules}/node_modules/@mywebapi.com/sdk`;
const sdk = await import(`${place}/dist/node/index.js`);
report("installed", { version: JSON.parse(readFileSync(`${place}/package.json`)).version });

const client = new sdk.CPluginWebApiClient({
  env: "custom",
  apiBaseUrl: given.base_url,
  authority: given.authority,
  clientId: given.client_id,
  clientSecret: given.client_secret,
});
const platforms = await client.listTradePlatforms();
report("platforms", { platforms: platforms.map(({ id, type }) => ({ id, type })) });
report("times", { mt4: await client.mt4.getServerTime(given.platforms.mt4), mt5: await client.mt5.getServerTime(given.platforms.mt5) });
const users = await sdk.collectAll((cursor) =>
  client.paged(() => client.mt4.getUsersRequest(given.platforms.mt4, { limit: 10, ...(cursor ? { cursor } : {}) })),
);
report("users", { logins: users.map((user) => user.login) });
const trade = await client.mt4.postTradeTransaction(given.platforms.mt4, { symbol: "EURUSD", volume: 1 });
report("trade", { order: trade.order });
try {
  await client.mt4.getUserRecordGetLogin(given.platforms.mt4, 99999999);
} catch (error) {
  report("refused", { api: error instanceof sdk.ApiError, code: error.code, activity: error.activityId });
}

const mt4 = client.realtime.mt4(given.platforms.mt4, { reconnect: false });
const status = new Promise((resolve) => mt4.onConnectionStatus(resolve));
const tick = new Promise((resolve) => mt4.onTick(resolve));
await mt4.start();
await mt4.subscribeToTicks("GBPUSD");
report("mt4", {
  status: await status,
  tick: await tick,
  ticks: await first(mt4.streamTicks("EURUSD"), 3),
  all: await first(mt4.streamTicks(), 4),
  trades: await first(mt4.streamTrades(), 1),
  users: await first(mt4.streamUserUpdates(), 1),
  symbols: await first(mt4.streamSymbolUpdates(), 1),
  marginCalls: await first(mt4.streamMarginCallUpdates(), 1),
});
await mt4.stop();

const mt5 = client.realtime.mt5(given.platforms.mt5, { reconnect: false });
await mt5.start();
report("mt5", { marginCalls: await first(mt5.streamMarginCallUpdates(), 2) });
await mt5.stop();
process.exit(0);
