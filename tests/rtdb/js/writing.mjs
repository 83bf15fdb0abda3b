import * as sdk from "firebase/database";

const { ref, set, get, update, query, onValue, runTransaction, increment } = sdk;

export async function concurrentTransactions({ open, input }) {
  let aborted = 0;
  const one = async (db) => {
    for (let i = 0; i < input.each; i++) {
      const done = await runTransaction(ref(db, "n"), (now) => (now ?? 0) + 1);
      if (!done.committed) aborted++;
    }
  };
  await Promise.all(Array.from({ length: input.clients }, () => one(open())));
  return { total: (await get(ref(open(), "n"))).val(), aborted };
}

export async function deniedTransaction({ open }) {
  const db = open();
  const message = await runTransaction(ref(db, "a"), () => 7).then(() => null, (error) => error.message);
  return { message, value: (await get(ref(db, "a"))).val() };
}

export async function abortedTransaction({ open }) {
  const db = open();
  await set(ref(db, "a"), "kept");
  const { committed, snapshot } = await runTransaction(ref(db, "a"), () => undefined);
  return { committed, value: snapshot.val() ?? (await get(ref(db, "a"))).val() };
}

export async function parallelIncrements({ open }) {
  const databases = [open(), open(), open(), open()];
  await Promise.all(Array.from({ length: 100 }, (_, i) => set(ref(databases[i % 4], "n"), increment(1))));
  return (await get(ref(databases[0], "n"))).val();
}

export async function deniedWrite({ open }) {
  const db = open();
  const seen = [];
  await set(ref(db, "a"), 1);
  await new Promise((resolve) => onValue(ref(db, "a"), (s) => (seen.push(s.val()), resolve())));
  const message = await set(ref(db, "a"), 5).then(() => null, (error) => error.message);
  return { seen, message };
}

export async function manyKinds({ open }) {
  const db = open();
  const keys = [];
  for (let i = 0; i < 50; i++) keys.push(sdk.push(ref(db, "pushed"), i).key);
  await sdk.setWithPriority(ref(db, "list/first"), 1, 10);
  await sdk.setWithPriority(ref(db, "list/second"), 2, "a");
  await set(ref(db, "list/third"), 3);
  await sdk.setPriority(ref(db, "list/third"), -1);
  const order = [];
  (await get(query(ref(db, "list"), sdk.orderByPriority()))).forEach((child) => void order.push(child.key));
  await update(ref(db, "nested"), { "a/b": 1, "c/d/e": 2 });
  await sdk.setWithPriority(ref(db, "export"), { x: { ".value": 5, ".priority": "p" } }, 1);
  const stored = Object.keys((await get(ref(db, "pushed"))).val());
  return {
    order,
    nested: (await get(ref(db, "nested"))).val(),
    export: (await get(ref(db, "export"))).exportVal(),
    ascending: JSON.stringify(keys) === JSON.stringify([...keys].sort()) && stored.length === 50,
  };
}
