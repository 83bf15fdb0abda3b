// A verifier that shares nothing with the backend: canonical JSON (RFC 8785), SHA-256 and Ed25519 of the platform itself.
import { finish, readInput } from "./person.mjs";

const { entries, keys } = await readInput();

// RFC 8785: members sorted by UTF-16 code units, which is how JavaScript compares text; numbers and text as JSON.stringify.
const canonical = (value) => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
};

const hashOf = async ({ hash, signature, ...body }) =>
  Buffer.from(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(canonical(body))));

const imported = new Map();
for (const { kty, crv, x, kid } of keys) {
  imported.set(kid, await crypto.subtle.importKey("jwk", { kty, crv, x }, { name: "Ed25519" }, true, ["verify"]));
}

const hashes = [], signatures = [];
for (const entry of entries) {
  const hash = await hashOf(entry);
  const signature = Buffer.from(entry.signature, "base64url");
  hashes.push(hash.toString("hex"));
  signatures.push(await crypto.subtle.verify({ name: "Ed25519" }, imported.get(entry.key_id), signature, hash));
}
finish({ hashes, signatures });
