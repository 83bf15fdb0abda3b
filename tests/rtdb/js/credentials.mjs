import * as sdk from "firebase/database";

const { ref, set, get } = sdk;

export async function mockUsers({ open }) {
  const alice = open({ user: { sub: "alice" } });
  const owner = open({ user: "owner" });
  await set(ref(alice, "users/alice"), "mine");
  const foreign = await set(ref(alice, "users/bob"), "x").then(() => "allowed", (error) => error.message);
  await set(ref(owner, "users/bob"), "by the owner");
  return {
    own: (await get(ref(alice, "users/alice"))).val(),
    foreign,
    owner: (await get(ref(owner, "users/bob"))).val(),
  };
}
