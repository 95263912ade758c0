// Reads the compiler's standard JSON from stdin and writes its answer; imports come from the pinned library only.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const modules = path.join(process.argv[2], "node_modules");
const solc = require(path.join(modules, "solc"));
const LIBRARY = /^@openzeppelin\/contracts\/[A-Za-z0-9\/]+\.sol$/;
const read = (name) =>
  LIBRARY.test(name)
    ? { contents: fs.readFileSync(path.join(modules, name), "utf8") }
    : { error: "only the pinned library can be imported" };
const answer = JSON.parse(solc.compile(fs.readFileSync(0, "utf8"), { import: read }));
answer.compiler = solc.version();
process.stdout.write(JSON.stringify(answer));
