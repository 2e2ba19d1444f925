// What both clients' scripts share: arguments, and a line for each check that held.
export const port = Number(process.argv[2]);
export const prefix = process.argv[3];
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

let checks = 0;

export async function check(name, body) {
  await body();
  checks += 1;
  console.log(`ok ${name}`);
}

export function finish() {
  console.log(`all ${checks} checks held`);
}
