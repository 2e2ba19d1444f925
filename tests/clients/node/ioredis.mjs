// ioredis on a cluster: node ioredis.mjs PORT RUN. Prints "ok NAME" for each check; an assertion ends it with status 1.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import Redis from "ioredis";
import { check, finish, port, prefix, sleep } from "./checks.mjs";

const nodes = [{ host: "127.0.0.1", port }];
const cluster = new Redis.Cluster(nodes);
const name = (what) => `ioredis:${prefix}:${what}`;
const many = Array.from({ length: 200 }, (_, number) => name(`many:${number}`));

await check("topology", async () => {
  await cluster.ping();
  assert.equal(cluster.nodes("all").length, 6);
  assert.equal(cluster.nodes("master").length, 3);
  assert.match(await cluster.cluster("INFO"), /cluster_state:ok/);
});

await check("strings", async () => {
  for (const key of many) assert.equal(await cluster.set(key, key), "OK");
  assert.deepEqual(await Promise.all(many.map((key) => cluster.get(key))), many);
  assert.equal(await cluster.incrby(name("n"), 5), 5);
  assert.equal(await cluster.append(name("a"), "xyz"), 3);
  assert.equal(await cluster.get(name("none")), null);
});

await check("hashes", async () => {
  assert.equal(await cluster.hset(name("h"), { a: "1", b: "zwei" }), 2);
  assert.deepEqual(await cluster.hgetall(name("h")), { a: "1", b: "zwei" });
  assert.equal(await cluster.hincrby(name("h"), "a", 2), 3);
});

await check("expiry", async () => {
  await cluster.set(name("short"), "x", "PX", 50);
  const left = await cluster.pttl(name("short"));
  assert.ok(left > 0 && left <= 50);
  for (let turn = 0; turn < 200 && (await cluster.get(name("short"))) !== null; turn++) await sleep(10);
  assert.equal(await cluster.get(name("short")), null);
});

await check("hash tags", async () => {
  const tag = `{${name("tag")}}`;
  assert.equal(await cluster.mset(`${tag}a`, 1, `${tag}b`, 2), "OK");
  assert.deepEqual(await cluster.mget(`${tag}a`, `${tag}b`, `${tag}c`), ["1", "2", null]);
});

await check("crossslot", async () => {
  const [first, second] = [many[0], many[1]];
  await assert.rejects(cluster.mget(first, second), /CROSSSLOT/);
});

await check("scan", async () => {
  const found = new Set();
  for (const node of cluster.nodes("master")) {
    for await (const keys of node.scanStream({ match: name("many:*"), count: 50 })) keys.forEach((key) => found.add(key));
  }
  assert.deepEqual([...found].sort(), [...many].sort());
});

await check("binary", async () => {
  const key = Buffer.concat([Buffer.from(name("bin")), Buffer.from([0, 13, 10, 255])]);
  const value = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  await cluster.set(key, value);
  assert.ok((await cluster.getBuffer(key)).equals(value));
});

await check("big value", async () => {
  const value = randomBytes(10 * 1024 * 1024);
  await cluster.set(name("big"), value);
  assert.ok((await cluster.getBuffer(name("big"))).equals(value));
  assert.equal(await cluster.del(name("big")), 1);
});

await check("pipeline", async () => {
  const tag = `{${name("pipe")}}`;
  const pipeline = cluster.pipeline();
  for (let number = 0; number < 300; number++) pipeline.set(`${tag}${number}`, number).get(`${tag}${number}`);
  const replies = await pipeline.exec();
  assert.equal(replies.length, 600);
  replies.forEach(([error, reply], at) => {
    assert.equal(error, null);
    assert.equal(reply, at % 2 ? String((at - 1) / 2) : "OK");
  });
});

await check("auto pipelining over many slots", async () => {
  const auto = new Redis.Cluster(nodes, { enableAutoPipelining: true });
  assert.deepEqual(await Promise.all(many.map((key) => auto.get(key))), many);
  await auto.quit();
});

await check("reads from replicas", async () => {
  const reader = new Redis.Cluster(nodes, { scaleReads: "slave" });
  for (const key of many.slice(0, 30)) assert.equal(await reader.get(key), key);
  await reader.quit();
});

await check("quit", async () => assert.equal(await cluster.quit(), "OK"));
finish();
