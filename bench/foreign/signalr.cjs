// The official JavaScript client, @microsoft/signalr, in node. Commands and answers as in bench/lines.py; argv[2] is where npm put it.
const { createInterface } = require("node:readline");
const { HubConnectionBuilder, LogLevel } = require(`${process.argv[2]}/node_modules/@microsoft/signalr`);

const answer = (values) => process.stdout.write(JSON.stringify(values) + "\n");

function items(connection, count) {
  return new Promise((resolve, reject) => {
    let seen = 0;
    connection.stream("Burst", count).subscribe({ next: () => (seen += 1), complete: () => resolve(seen), error: reject });
  });
}

async function main() {
  let connection;
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    if (!connection) {
      const url = `http://127.0.0.1:${command.port}/hub`;
      connection = new HubConnectionBuilder().withUrl(url).configureLogging(LogLevel.None).build();
      await connection.start();
      answer({});
      continue;
    }
    const cpu = process.cpuUsage();
    const wall = process.hrtime.bigint();
    const seen = await items(connection, command.count);
    const spent = process.cpuUsage(cpu);
    const seconds = Number(process.hrtime.bigint() - wall) / 1e9;
    answer({ seen, seconds, cpu: (spent.user + spent.system) / 1e6 });
  }
  process.exit(0);
}

main();
