// Runs the pinned firebase CLI with three faults of its emulators repaired and one step made shorter, in this process only.
// Everything else is the CLI as published: `node emulators/suite/firebase.cjs <any firebase command>`.
"use strict";

const { EventEmitter } = require("events");
const http = require("http");
const path = require("path");

const CLI = path.dirname(require.resolve("firebase-tools/package.json"));
const inCli = (name) => require.resolve(name, { paths: [CLI] });

// 1. The functions emulator keeps sockets to its workers open, gunicorn closes idle ones after two seconds, and a request that meets such a
//    socket fails with ECONNRESET, whereupon the CLI kills the worker. A fresh connection per request cannot meet it.
http.globalAgent = new http.Agent({ keepAlive: false });

// 2. Worker ports are picked at random from 8081 upwards, checked, and bound a second later by Python: two suites, or two cold starts of
//    one, can pick the same. Each suite gets a range of its own, handed out in turn.
const [first, last] = (process.env.SUITE_WORKER_PORTS || "").split("-").map(Number);
if (first && last) {
  const portfinder = require(inCli("portfinder"));
  const find = portfinder.getPortPromise.bind(portfinder);
  let next = first;
  portfinder.getPortPromise = async () => {
    const start = next;
    next = start >= last ? first : start + 1;
    const port = await find({ port: start, stopPort: last, host: "127.0.0.1" });
    if (port >= next && port < last) next = port + 1;
    return port;
  };
}

// 3. Secrets are read from functions/.secret.local and nowhere else, so that a test suite and `make run` would share the user's keys.
if (process.env.SUITE_SECRETS) {
  const shared = require(inCli("./lib/emulator/functionsEmulatorShared.js"));
  shared.getSecretLocalPath = () => process.env.SUITE_SECRETS;
}

// 4. The Auth emulator compiles a validator for every schema of Google's API at each start, seconds of work, and a third of it goes into
//    polishing code that runs a few times. The validators are the same without.
require(inCli("ajv/dist/compile/codegen")).CodeGen.prototype.optimize = () => undefined;

// 5. On wish the CLI looks at no file twice: an edit in the middle of a test session would restart the workers under the tests.
if (process.env.SUITE_RELOAD === "no") {
  const deaf = () => Object.assign(new EventEmitter(), { close: async () => undefined });
  require(inCli("chokidar")).watch = deaf;
}

require(path.join(CLI, "lib/bin/firebase.js"));
