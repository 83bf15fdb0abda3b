// A person's app on the Firebase JavaScript SDK: signs up, listens, calls. Shared by the scripts of this folder, each of
// which reads one JSON object from standard input and prints one JSON object.
import { initializeApp } from "firebase/app";
import { connectAuthEmulator, createUserWithEmailAndPassword, getAuth } from "firebase/auth";
import { connectDatabaseEmulator, getDatabase, onValue, ref } from "firebase/database";
import { connectFunctionsEmulator, getFunctions, httpsCallable } from "firebase/functions";

const HOST = "127.0.0.1";
console.warn = () => {};

export async function readInput() {
  let text = "";
  for await (const piece of process.stdin) text += piece;
  return JSON.parse(text);
}

export async function signUp({ ports, project, namespace }, name = "[DEFAULT]") {
  const app = initializeApp({
    apiKey: "local", projectId: project, databaseURL: `http://${HOST}:${ports.database}/?ns=${namespace}`,
  }, name);
  const auth = getAuth(app);
  connectAuthEmulator(auth, `http://${HOST}:${ports.auth}`, { disableWarnings: true });
  const database = getDatabase(app);
  connectDatabaseEmulator(database, HOST, ports.database);
  const functions = getFunctions(app);
  connectFunctionsEmulator(functions, HOST, ports.functions);
  const email = `${crypto.randomUUID()}@example.com`;
  const { user } = await createUserWithEmailAndPassword(auth, email, "correct horse");
  return new Person(app, database, functions, user);
}

export class Person {
  constructor(app, database, functions, user) {
    Object.assign(this, { app, database, functions, user, uid: user.uid });
  }

  listen(path, tell) {
    const place = ref(this.database, `users/${this.uid}/${path}`);
    return onValue(place, (snapshot) => tell(snapshot.val()), (error) => tell({ refused: error.code ?? error.message }));
  }

  /** Resolves once a value at `path` satisfies `holds`; the listener stays no longer than that. */
  async sees(path, holds) {
    let stop;
    try {
      return await new Promise((resolve) => {
        stop = this.listen(path, (value) => { if (holds(value)) resolve(value); });
      });
    } finally {
      stop();
    }
  }

  async call(name, data) {
    try {
      return { data: (await httpsCallable(this.functions, name)(data)).data };
    } catch (error) {
      return { code: error.code, message: error.message, details: error.details };
    }
  }

  async fetch(url, { method = "GET", body, headers = {} } = {}) {
    const signed = { Authorization: `Bearer ${await this.user.getIdToken()}`, ...headers };
    if (body !== undefined) signed["Content-Type"] = "application/json";
    return fetch(url, { method, headers: signed, body: body === undefined ? undefined : JSON.stringify(body) });
  }
}

/** Frames of an SSE body, as they arrive. */
export async function* frames(response) {
  let text = "";
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const lines = Object.fromEntries(text.slice(0, end).split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (lines.event) yield { name: lines.event, data: JSON.parse(lines.data) };
    }
  }
}

export function finish(result) {
  process.stdout.write(JSON.stringify(result), () => process.exit(0));
}
