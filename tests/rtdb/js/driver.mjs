// Runs cases of the modules beside it with the real Firebase SDK: one JSON command per line in, one JSON result per line out.
// A case is an exported async function; it gets fresh apps on demand and gives something that can be compared.
import { createInterface } from "node:readline";
import { writeSync } from "node:fs";
import { initializeApp, deleteApp } from "firebase/app";
import * as sdk from "firebase/database";

for (const level of ["log", "info", "warn", "error", "debug"]) {
  console[level] = (...words) => writeSync(2, words.join(" ") + "\n");
}

let number = 0;

function world({ host, ns, input }) {
  const apps = [];
  const open = (options = {}) => {
    const app = initializeApp({ databaseURL: `http://${host}?ns=${options.ns ?? ns}`, projectId: "demo" }, `app${number++}`);
    apps.push(app);
    const db = sdk.getDatabase(app);
    if (options.user !== undefined) {
      const [address, port] = host.split(":");
      sdk.connectDatabaseEmulator(db, address, Number(port), { mockUserToken: options.user });
    }
    return db;
  };
  const close = () => Promise.all(apps.map((app) => deleteApp(app)));
  return { open, close, input, host, ns };
}

async function run(command) {
  const module = await import(`./${command.module}.mjs`);
  const it = world(command);
  try {
    return { result: (await module[command.case](it)) ?? null };
  } catch (error) {
    return { error: String(error?.stack ?? error) };
  } finally {
    await it.close();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  writeSync(1, JSON.stringify(await run(JSON.parse(line))) + "\n");
}
process.exit(0);
