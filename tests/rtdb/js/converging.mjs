import * as sdk from "firebase/database";
import { waiting } from "./waiting.mjs";

const { ref, set, update, get, onValue, runTransaction, increment } = sdk;

function picker(seed) {
  return (n) => ((seed = (seed * 1103515245 + 12345) % 2147483648), Math.floor((seed / 2147483648) * n));
}

async function step(db, pick) {
  const key = "k" + pick(5);
  const kind = pick(4);
  if (kind === 0) await set(ref(db, `data/${key}`), pick(10));
  if (kind === 1) await update(ref(db, "data"), { [key]: { a: pick(5) }, ["k" + (5 + pick(3))]: null });
  if (kind === 2) await runTransaction(ref(db, `data/${key}`), (now) => (typeof now === "number" ? now + 1 : 1));
  if (kind === 3) await set(ref(db, `data/${key}/deep/er`), pick(3) ? pick(10) : null);
  await set(ref(db, "counter"), increment(1));
}

export async function randomClients({ open, input }) {
  const clients = Array.from({ length: input.clients }, () => ({ db: open(), view: null, last: null }));
  for (const client of clients) onValue(ref(client.db, "data"), (s) => (client.view = s.val()));
  const run = async (client, seed) => {
    const pick = picker(seed);
    for (let i = 0; i < input.steps; i++) await step(client.db, pick);
  };
  await Promise.all(clients.map((client, i) => run(client, i + 1)));
  for (const client of clients) {
    const done = waiting(() => client.last === true);
    onValue(ref(client.db, "done"), (s) => ((client.last = s.val()), done.event()));
    await set(ref(clients[0].db, "done"), true);
    await done.promise;
  }
  const server = (await get(ref(open(), "data"))).val();
  const counter = (await get(ref(open(), "counter"))).val();
  return { views: clients.map((client) => client.view), server, counter };
}

function cut({ host, ns }) {
  const headers = { Authorization: "Bearer owner" };
  return fetch(`http://${host}/.control/disconnect`, { method: "POST", headers, body: JSON.stringify({ ns }) });
}

export async function cutClients(world) {
  const { open, input } = world;
  const clients = Array.from({ length: input.clients }, () => ({ db: open(), view: null }));
  for (const client of clients) onValue(ref(client.db, "data"), (s) => (client.view = s.val()));
  const written = [];
  for (let i = 0; i < input.writes; i++) {
    clients.forEach(({ db }, number) => written.push(set(ref(db, `data/c${number}w${i}`), i)));
    if (i % Math.ceil(input.writes / input.cuts) === 5) {
      await get(ref(clients[0].db, "elsewhere"));
      await cut(world);
    }
  }
  await Promise.all(written);
  await Promise.all(clients.map(({ db }) => get(ref(db, "data"))));
  const server = JSON.stringify((await get(ref(open(), "data"))).val());
  const stored = Object.keys(JSON.parse(server)).length;
  return { stored, agree: clients.every(({ view }) => JSON.stringify(view) === server) };
}
