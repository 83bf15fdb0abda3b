// The product as its user sees it: sign up, listen to the balance and to the live text, ask over fetch, watch.
// Prints everything that was seen, in the order in which it was seen.
import { finish, frames, readInput, signUp } from "./person.mjs";

const input = await readInput();
const person = await signUp(input);
const seen = [];
person.listen("balance", (value) => seen.push({ what: "balance", value }));
person.listen("streams", (value) => seen.push({ what: "streams", value }));

const begun = await person.fetch(`${input.api}/v1/chat/conversations`, { method: "POST", body: {} });
const { id } = await begun.json();
const response = await person.fetch(`${input.api}/v1/chat/conversations/${id}/messages`, {
  method: "POST", body: { content: input.question }, headers: { Accept: "text/event-stream" },
});
const sent = [];
for await (const frame of frames(response)) {
  seen.push({ what: frame.name });
  sent.push(frame);
}
const done = sent.at(-1).data;
const mirrored = await person.sees("balance", (value) => value?.available === done.available && value.reserved === "0");
const stream = await person.sees(`streams/${done.message_id}`, (value) => value?.status === "done");
const balance = await (await person.fetch(`${input.api}/v1/credits/balance`)).json();
finish({ uid: person.uid, conversation: id, type: response.headers.get("content-type"), seen, sent, mirrored, stream, balance });
