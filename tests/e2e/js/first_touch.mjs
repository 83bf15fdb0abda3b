// The very first thing that a new user's app does, through several doors at once. No door is knocked at before.
import { ref, set, serverTimestamp } from "firebase/database";
import { finish, readInput, signUp } from "./person.mjs";

const input = await readInput();
const person = await signUp(input);
const doors = {
  api: async () => (await person.fetch(`${input.api}/v1/credits/balance`)).json(),
  hosting: async () => (await person.fetch(`${input.hosting}/api/v1/credits/balance`)).json(),
  callable: async () => (await person.call("get_balance", {})).data,
  presence: () => set(ref(person.database, `users/${person.uid}/presence`), { state: "online", at: serverTimestamp() }),
};
const mirrored = person.sees("balance", (value) => value !== null);
const opened = await Promise.all(input.doors.map((door) => doors[door]()));
finish({ uid: person.uid, idToken: await person.user.getIdToken(), opened, mirrored: await mirrored });
