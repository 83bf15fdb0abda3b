import * as sdk from "firebase/database";
import { waiting } from "./waiting.mjs";

const { ref, get, onDisconnect, onValue } = sdk;

export async function goOffline({ open }) {
  const leaver = open();
  const watcher = open();
  await onDisconnect(ref(leaver, "set")).set(true);
  await onDisconnect(ref(leaver, "update")).update({ a: 1, b: 2 });
  await onDisconnect(ref(leaver, "cancelled")).set(true);
  await onDisconnect(ref(leaver, "cancelled")).cancel();
  await onDisconnect(ref(leaver, "last")).setWithPriority("x", 1);
  let last = null;
  const gone = waiting(() => last !== null);
  onValue(ref(watcher, "last"), (s) => ((last = s.val()), gone.event()));
  await get(ref(watcher, "last"));
  sdk.goOffline(leaver);
  await gone.promise;
  const value = async (path) => (await get(ref(watcher, path))).val();
  return { set: await value("set"), update: await value("update"), cancelled: await value("cancelled") };
}
