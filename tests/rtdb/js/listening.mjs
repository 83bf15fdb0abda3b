import * as sdk from "firebase/database";
import { waiting } from "./waiting.mjs";

const { ref, set, update, remove, get, query, onValue } = sdk;

export async function untilCancelled({ open }) {
  const db = open();
  return new Promise((resolve) => {
    onValue(ref(db, "room"), () => set(ref(db, "open"), false), (error) => resolve(error.message));
  });
}

export async function valuesInOrder({ open }) {
  const db = open();
  const seen = [];
  const at = ref(db, "room");
  const first = waiting(() => seen.length === 1);
  onValue(at, (snapshot) => (seen.push(snapshot.val()), first.event()));
  await first.promise;
  await set(at, 1);
  await set(at, 2);
  await set(at, { a: 1 });
  await update(at, { b: 2 });
  await remove(at);
  return seen;
}

function record(target) {
  const events = [];
  sdk.onChildAdded(target, (s) => events.push("+" + s.key));
  sdk.onChildRemoved(target, (s) => events.push("-" + s.key));
  sdk.onChildChanged(target, (s) => events.push("~" + s.key));
  sdk.onChildMoved(target, (s) => events.push(">" + s.key));
  return events;
}

export async function childEvents({ open }) {
  const db = open();
  await set(ref(db, "v"), { a: 1, b: 2, c: 3 });
  const byValue = record(query(ref(db, "v"), sdk.orderByValue(), sdk.limitToLast(2)));
  await get(ref(db, "v"));
  await set(ref(db, "v/d"), 9);
  await set(ref(db, "v/d"), 10);
  await remove(ref(db, "v/d"));
  const byKey = record(query(ref(db, "k"), sdk.orderByKey(), sdk.endAt("b")));
  await set(ref(db, "k"), { a: 1, b: 2, c: 3 });
  await set(ref(db, "k/a"), 5);
  await set(ref(db, "k/c"), 5);
  const byChild = record(query(ref(db, "c"), sdk.orderByChild("n"), sdk.limitToFirst(2)));
  await set(ref(db, "c"), { y: { n: 1 }, z: { n: 2 } });
  await set(ref(db, "c/z/n"), 0);
  return { byValue, byKey, byChild: byChild.filter((event) => event !== "~z") };
}

function randomValue(pick) {
  const scalars = [0, 1, 2.5, -1, "a", "b", "é", "🐵", true, false];
  if (pick(3)) return scalars[pick(scalars.length)];
  const value = {};
  for (let i = pick(3); i >= 0; i--) value[["n", "m", "1", "10"][pick(4)]] = scalars[pick(scalars.length)];
  return value;
}

function randomQuery(at, pick) {
  const kind = pick(4);
  const order = [sdk.orderByKey(), sdk.orderByValue(), sdk.orderByPriority(), sdk.orderByChild("n")][kind];
  const values = [["1", "b", "é"], [0, 2, "a", true, null], [1, 2, "p", null], [0, 2.5, "b", null]][kind];
  const bounds = [sdk.startAt, sdk.endAt, sdk.startAfter, sdk.endBefore, sdk.equalTo];
  const constraints = [order];
  if (pick(4)) constraints.push(bounds[pick(bounds.length)](values[pick(values.length)]));
  if (pick(2)) constraints.push([sdk.limitToFirst, sdk.limitToLast][pick(2)](1 + pick(4)));
  return query(at, ...constraints);
}

// One client listens to the whole and computes each query from its own copy, another only to the queries.
export async function queriesAgree({ open, ns }) {
  let seed = 7;
  const pick = (n) => ((seed = (seed * 1103515245 + 12345) % 2147483648), Math.floor((seed / 2147483648) * n));
  const whole = open();
  const filtered = open();
  const differences = [];
  onValue(ref(whole, "list"), () => {});
  const keys = ["1", "2", "10", "a", "b", "é", "🐵", "-3"];
  const lists = {};
  for (const key of keys) lists[key] = randomValue(pick);
  await set(ref(whole, "list"), lists);
  const shape = (snapshot) => {
    const children = [];
    snapshot.forEach((child) => void children.push([child.key, child.exportVal()]));
    return JSON.stringify(children);
  };
  const live = [];
  for (let i = 0; i < 60; i++) {
    const before = seed;
    const mine = randomQuery(ref(filtered, "list"), pick);
    seed = before;
    const own = randomQuery(ref(whole, "list"), pick);
    const state = { mine: null, own: null, description: JSON.stringify(mine._queryObject) };
    onValue(mine, (s) => (state.mine = shape(s)));
    onValue(own, (s) => (state.own = shape(s)));
    live.push(state);
  }
  for (let step = 0; step < 60; step++) {
    const key = keys[pick(keys.length)];
    if (pick(4) === 0) await sdk.setWithPriority(ref(filtered, `list/${key}`), randomValue(pick), [1, 2, "p", null][pick(4)]);
    else await set(ref(filtered, `list/${key}`), pick(5) ? randomValue(pick) : null);
  }
  await get(ref(whole, "elsewhere"));
  for (const state of live) {
    if (state.mine !== state.own) differences.push([state.description, state.mine, state.own]);
  }
  return differences;
}

export async function afterReconnect({ open }) {
  const db = open();
  const other = open();
  const seen = [];
  const at = ref(db, "room");
  const back = waiting(() => seen.at(-1) === "while away");
  await set(at, "before");
  await new Promise((resolve) => onValue(at, (s) => (seen.push(s.val()), back.event(), resolve())));
  sdk.goOffline(db);
  await set(ref(other, "room"), "while away");
  sdk.goOnline(db);
  await back.promise;
  return seen;
}

export async function info({ open }) {
  const db = open();
  let connected = null;
  const up = waiting(() => connected === true);
  onValue(ref(db, ".info/connected"), (s) => ((connected = s.val()), up.event()));
  await up.promise;
  const offset = await new Promise((resolve) => onValue(ref(db, ".info/serverTimeOffset"), (s) => resolve(s.val())));
  return { connected, offset };
}
