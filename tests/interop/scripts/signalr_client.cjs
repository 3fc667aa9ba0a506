// Microsoft's JavaScript client, unchanged, against a hub: calls, streams both ways, pushes, questions of the server, and what follows a loss.
// Facts come in as one JSON line on stdin, steps go out as JSON lines on stdout; trust comes from NODE_EXTRA_CA_CERTS.
const { createInterface } = require("node:readline");

const report = (step, values = {}) => process.stdout.write(JSON.stringify({ step, ...values }) + "\n");

const settled = (promise) => promise.then((result) => ({ result: result === undefined ? null : result }), (error) => ({ error: error.message }));

function collected(stream, limit = Infinity) {
  return new Promise((resolve) => {
    const items = [];
    const subscription = stream.subscribe({
      next(item) {
        items.push(item);
        if (items.length === limit) {
          subscription.dispose();
          resolve({ items });
        }
      },
      complete: () => resolve({ items, complete: true }),
      error: (error) => resolve({ items, error: error.message }),
    });
  });
}

function built(signalr, given) {
  const options = { accessTokenFactory: () => given.token };
  if (given.skip) Object.assign(options, { skipNegotiation: true, transport: signalr.HttpTransportType.WebSockets });
  const builder = new signalr.HubConnectionBuilder().withUrl(given.url, options).configureLogging(signalr.LogLevel.None);
  if (given.reconnect) builder.withAutomaticReconnect([0, 0, 100, 100, 1000]);
  if (given.stateful) builder.withStatefulReconnect();
  return builder.build();
}

async function calls(connection, signalr) {
  report("calls", {
    echo: await settled(connection.invoke("Echo", { a: [1, 2.5, "é", null] })),
    who: await settled(connection.invoke("WhoAmI")),
    void: await settled(connection.invoke("Slow", 0)),
    openly: await settled(connection.invoke("FailOpenly")),
    unknown: await settled(connection.invoke("Nowhere")),
    big: (await connection.invoke("Big", 100000)).length,
  });
  report("streams", {
    count: await collected(connection.stream("Count", 3, 0, -1)),
    failed: await collected(connection.stream("Count", 3, 0, 1)),
    left: await collected(connection.stream("Count", 1000000, 1, -1), 2),
    ticks: await collected(connection.stream("StreamTicks", "EURUSD"), 3),
  });
  const numbers = new signalr.Subject();
  const sum = connection.invoke("Sum", numbers);
  for (const number of [1, 2, 3]) numbers.next(number);
  numbers.complete();
  const texts = new signalr.Subject();
  const mirrored = collected(connection.stream("Mirror", texts));
  for (const text of ["a", "b"]) texts.next(text);
  texts.complete();
  report("uploads", { sum: await settled(sum), mirrored: await mirrored });
}

async function main() {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const given = JSON.parse((await lines.next()).value);
  const signalr = require(`${given.modules}/node_modules/@microsoft/signalr`);
  report("installed", { version: signalr.VERSION });
  const connection = built(signalr, given);
  const pushed = [];
  connection.on("OnConnectionStatus", (status) => report("status", status));
  connection.on("OnTick", (tick) => { if (pushed.push(tick) === 3) report("ticks", { ticks: pushed }); });
  connection.on("Ask", (question) => `${question}? because`);
  connection.onclose((error) => report("closed", { error: error ? error.message : null }));
  connection.onreconnecting(() => report("reconnecting"));
  connection.onreconnected(() => report("reconnected"));
  try {
    await connection.start();
  } catch (error) {
    report("refused", { error: error.message });
    process.exit(0);
  }
  report("started", { hasId: connection.connectionId !== null });
  if (given.calls) await calls(connection, signalr);
  if (given.subscribe) await connection.invoke("SubscribeToTicks", "EURUSD");
  if (given.count) {
    const counting = collected(connection.stream("Count", given.count, 5, -1));
    report("counting");
    report("counted", await counting);
  }
  for await (const line of lines) {
    if (line === "stop") await connection.stop();
    else report("echoed", await settled(connection.invoke("Echo", line)));
  }
  process.exit(0);
}

main();
