// What an app can do through `httpsCallable`: a balance, a paid message with its live text, and how refusals arrive.
import { finish, readInput, signUp } from "./person.mjs";

const input = await readInput();
const person = await signUp(input);
const first = await person.call("get_balance", {});
const { id } = await (await person.fetch(`${input.api}/v1/chat/conversations`, { method: "POST", body: {} })).json();
const message = { conversation_id: id, content: input.question, idempotency_key: "once" };
const grown = person.sees("streams", (value) => Object.values(value ?? {}).some((stream) => stream.status === "done"));
const answer = await person.call("send_message", message);
const streams = await grown;
const again = await person.call("send_message", message);
const reused = await person.call("send_message", { ...message, content: "something else" });
const elsewhere = await person.call("send_message", { ...message, conversation_id: "cnv_none" });
const invalid = await person.call("send_message", { content: 7 });
const greedy = await person.call("send_message", { conversation_id: id, content: "hi", max_cost: "0.000001" });
const balance = await (await person.fetch(`${input.api}/v1/credits/balance`)).json();
const last = await person.call("get_balance", {});
finish({ first, answer, streams, again, reused, elsewhere, invalid, greedy, balance, last });
