// oidc-provider, a certified OpenID provider, as an authority with client credentials. Facts come in as one JSON line on stdin, steps go out
// as JSON lines on stdout; it serves until stdin ends.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

const report = (step, values = {}) => process.stdout.write(JSON.stringify({ step, ...values }) + "\n");
console.info = console.warn = (...words) => console.error(...words);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const given = JSON.parse((await lines.next()).value);
const { Provider } = await import(`${given.modules}/node_modules/oidc-provider/lib/index.js`);

let handle;
const server = createServer({ cert: readFileSync(given.certificate), key: readFileSync(given.key) }, (request, response) => handle(request, response));
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `https://127.0.0.1:${server.address().port}`;

const client = (id, method) => ({
  client_id: id,
  client_secret: given.client_secret,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: method,
  scope: "webapi",
});
const provider = new Provider(issuer, {
  clients: [client("body", "client_secret_post"), client("basic", "client_secret_basic")],
  scopes: ["webapi", "other"],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:webapi",
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: "webapi other", accessTokenFormat: "jwt", accessTokenTTL: given.life }),
    },
  },
});
provider.on("grant.success", (context) => report("granted", { kind: context.oidc.params.grant_type, client: context.oidc.client.clientId }));
provider.on("grant.error", (context, error) => report("refused", { error: error.error }));
handle = provider.callback();
report("listening", { issuer, version: JSON.parse(readFileSync(`${given.modules}/node_modules/oidc-provider/package.json`)).version });

await lines.next();
server.closeAllConnections();
server.close();
