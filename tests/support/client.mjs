// A user's app: signs in with the Firebase JavaScript SDK and takes the steps that standard input lists, one after
// another. Prints one JSON line for each: {"value": ...} or {"refused": code}.
import { deleteApp, initializeApp } from "firebase/app";
import { connectAuthEmulator, getAuth, signInWithEmailAndPassword } from "firebase/auth";
import {
  connectDatabaseEmulator, get, getDatabase, onDisconnect, push, ref, remove, runTransaction, serverTimestamp, set, update,
} from "firebase/database";
import {
  addDoc, collection, connectFirestoreEmulator, deleteDoc, doc, getDoc, getDocs, getFirestore, setDoc, setLogLevel,
} from "firebase/firestore";

const input = JSON.parse(await new Promise((resolve) => {
  let text = "";
  process.stdin.on("data", (piece) => (text += piece)).on("end", () => resolve(text));
}));
const { ports, project, namespace, email, password, steps } = input;
setLogLevel("silent");
console.warn = () => {};

const app = initializeApp({
  apiKey: "local", projectId: project, databaseURL: `http://127.0.0.1:${ports.database}/?ns=${namespace}`,
});
const database = getDatabase(app);
connectDatabaseEmulator(database, "127.0.0.1", ports.database);
const store = getFirestore(app);
connectFirestoreEmulator(store, "127.0.0.1", ports.firestore);
if (email) {
  const auth = getAuth(app);
  connectAuthEmulator(auth, `http://127.0.0.1:${ports.auth}`, { disableWarnings: true });
  await signInWithEmailAndPassword(auth, email, password);
}

const withTime = (value) =>
  value && typeof value === "object"
    ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, v === "<now>" ? serverTimestamp() : v]))
    : value;

const actions = {
  get: async (path) => (await get(ref(database, path))).val(),
  set: (path, value) => set(ref(database, path), withTime(value)),
  update: (path, value) => update(ref(database, path), withTime(value)),
  push: (path, value) => push(ref(database, path), value),
  remove: (path) => remove(ref(database, path)),
  transaction: (path, value) => runTransaction(ref(database, path), () => withTime(value)),
  onDisconnect: (path, value) => onDisconnect(ref(database, path)).set(withTime(value)),
  getDoc: async (path) => (await getDoc(doc(store, path))).data() ?? null,
  getDocs: async (path) => (await getDocs(collection(store, path))).size,
  setDoc: (path, value) => setDoc(doc(store, path), value),
  addDoc: (path, value) => addDoc(collection(store, path), value),
  deleteDoc: (path) => deleteDoc(doc(store, path)),
};

for (const [action, path, value] of steps) {
  try {
    const result = await actions[action](path, value);
    const plain = ["get", "getDoc", "getDocs"].includes(action) ? result : null;
    console.log(JSON.stringify({ value: plain ?? null }));
  } catch (error) {
    // The database's SDK gives most refusals a code, and some only a message.
    const code = error.code ?? error.message;
    console.log(JSON.stringify({ refused: /permission.denied/i.test(code) ? "permission-denied" : code }));
  }
}
await deleteApp(app);
process.exit(0);
