// node-redis on a cluster: node node-redis.mjs PORT RUN RESP. Prints "ok NAME" for each check.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createClient, createCluster, RESP_TYPES } from "redis";
import { check, finish, port, prefix, sleep } from "./checks.mjs";

const RESP = Number(process.argv[4]);
const rootNodes = [{ url: `redis://127.0.0.1:${port}` }];
const cluster = createCluster({ rootNodes, RESP });
cluster.on("error", (error) => {
  throw error;
});
await cluster.connect();
const name = (what) => `node-redis:${prefix}:${RESP}:${what}`;
const many = Array.from({ length: 200 }, (_, number) => name(`many:${number}`));

await check("topology", async () => {
  assert.equal(cluster.masters.length, 3);
  assert.equal(cluster.slots.length, 16384);
});

await check("strings", async () => {
  for (const key of many.slice(0, 20)) assert.equal(await cluster.set(key, key), "OK");
  assert.deepEqual(await Promise.all(many.map((key) => cluster.set(key, key))), many.map(() => "OK"));
  assert.deepEqual(await Promise.all(many.map((key) => cluster.get(key))), many);
  assert.equal(await cluster.incrBy(name("n"), 5), 5);
  assert.equal(await cluster.get(name("none")), null);
});

await check("hashes", async () => {
  assert.equal(await cluster.hSet(name("h"), { a: "1", b: "zwei" }), 2);
  assert.deepEqual({ ...(await cluster.hGetAll(name("h"))) }, { a: "1", b: "zwei" });
});

await check("expiry", async () => {
  await cluster.set(name("short"), "x", { expiration: { type: "PX", value: 50 } });
  const left = await cluster.pTTL(name("short"));
  assert.ok(left > 0 && left <= 50);
  for (let turn = 0; turn < 200 && (await cluster.get(name("short"))) !== null; turn++) await sleep(10);
  assert.equal(await cluster.get(name("short")), null);
});

await check("hash tags", async () => {
  const tag = `{${name("tag")}}`;
  assert.equal(await cluster.mSet({ [`${tag}a`]: "1", [`${tag}b`]: "2" }), "OK");
  assert.deepEqual(await cluster.mGet([`${tag}a`, `${tag}b`, `${tag}c`]), ["1", "2", null]);
});

await check("crossslot", async () => {
  await assert.rejects(cluster.mGet([many[0], many[1]]), /CROSSSLOT/);
});

await check("scan", async () => {
  const found = new Set();
  for (const primary of cluster.masters) {
    const client = await cluster.nodeClient(primary);
    for await (const keys of client.scanIterator({ MATCH: name("many:*"), COUNT: 50 })) {
      keys.forEach((key) => found.add(key));
    }
  }
  assert.deepEqual([...found].sort(), [...many].sort());
});

const binary = cluster.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });

await check("binary", async () => {
  const key = Buffer.concat([Buffer.from(name("bin")), Buffer.from([0, 13, 10, 255])]);
  const value = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  await cluster.set(key, value);
  assert.ok((await binary.get(key)).equals(value));
});

await check("big value", async () => {
  const value = randomBytes(10 * 1024 * 1024);
  await cluster.set(name("big"), value);
  assert.ok((await binary.get(name("big"))).equals(value));
  assert.equal(await cluster.del(name("big")), 1);
});

await check("pipeline over many slots", async () => {
  // Commands of one turn of the event loop leave together, by node.
  const lengths = await Promise.all(many.map((key) => cluster.append(key, "!")));
  assert.deepEqual(lengths, many.map((key) => key.length + 1));
  assert.deepEqual(await Promise.all(many.map((key) => cluster.strLen(key))), lengths);
});

await check("knows replicas", async () => {
  // Only that: version 5.12 forgets READONLY on some connections and then follows MOVED in circles, real servers' too.
  const reader = createCluster({ rootNodes, RESP, useReplicas: true });
  await reader.connect();
  assert.equal(reader.replicas.length, 3);
  await reader.close();
});

await check("hello", async () => {
  const client = createClient({ url: rootNodes[0].url, RESP, name: "checks" });
  await client.connect();
  const hello = await client.hello(RESP);
  assert.equal(hello.proto, RESP);
  assert.equal(hello.mode, "cluster");
  assert.equal(await client.clientGetName(), "checks");
  await client.close();
});

await check("close", async () => cluster.close());
finish();
