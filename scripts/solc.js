// solc's command line over npm's solc, for tools that take a compiler executable and cannot download one.
// Answers --version, --standard-json [FILE] and --combined-json FIELDS FILE...
"use strict";

const fs = require("fs");
const path = require("path");

const ROOT = path.dirname(__dirname);

// The fields of --combined-json, and where the same thing stands in a standard-json contract.
const COMBINED = {
  abi: ["abi", (c) => c.abi],
  asm: ["evm.legacyAssembly", (c) => c.evm.legacyAssembly],
  bin: ["evm.bytecode.object", (c) => c.evm.bytecode.object],
  "bin-runtime": ["evm.deployedBytecode.object", (c) => c.evm.deployedBytecode.object],
  srcmap: ["evm.bytecode.sourceMap", (c) => c.evm.bytecode.sourceMap],
  "srcmap-runtime": ["evm.deployedBytecode.sourceMap", (c) => c.evm.deployedBytecode.sourceMap],
  hashes: ["evm.methodIdentifiers", (c) => c.evm.methodIdentifiers],
  metadata: ["metadata", (c) => c.metadata],
  "storage-layout": ["storageLayout", (c) => c.storageLayout],
  userdoc: ["userdoc", (c) => c.userdoc],
  devdoc: ["devdoc", (c) => c.devdoc],
};

const VALUED = ["--base-path", "--include-path", "-I", "--allow-paths", "--evm-version", "--optimize-runs", "--combined-json"];

function parse(argv) {
  const options = { flags: new Set(), values: {}, includes: [], remappings: [], files: [] };
  for (let i = 0; i < argv.length; i++) {
    const [name, inline] = argv[i].startsWith("--") ? splitOnce(argv[i], "=") : [argv[i], undefined];
    if (VALUED.includes(name)) {
      const value = inline === undefined ? argv[++i] : inline;
      if (name === "--include-path" || name === "-I") options.includes.push(value);
      else options.values[name] = value;
    } else if (name.startsWith("-") && name !== "-") options.flags.add(name);
    else if (name.includes("=")) options.remappings.push(name);
    else options.files.push(name);
  }
  return options;
}

function splitOnce(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** Finds imports that the caller did not send along, as native solc does. */
function reader(options) {
  const folders = [options.values["--base-path"] || ".", ...options.includes, path.join(ROOT, "node_modules"), ROOT];
  return (name) => {
    for (const folder of folders) {
      try {
        return { contents: fs.readFileSync(path.resolve(folder, name), "utf8") };
      } catch (error) {
        if (!["ENOENT", "ENOTDIR", "EISDIR"].includes(error.code)) return { error: error.message };
      }
    }
    return { error: `File not found: ${name}` };
  };
}

function compile(input, options) {
  return require("solc").compile(input, { import: reader(options) });
}

function combined(options) {
  const fields = options.values["--combined-json"].split(",").filter((field) => field !== "ast");
  const unknown = fields.filter((field) => !(field in COMBINED));
  if (unknown.length) throw new Error(`--combined-json does not know ${unknown.join(", ")}`);
  const settings = {
    remappings: options.remappings,
    optimizer: {
      enabled: options.flags.has("--optimize"),
      runs: Number(options.values["--optimize-runs"] || 200),
    },
    viaIR: options.flags.has("--via-ir"),
    outputSelection: { "*": { "*": fields.map((field) => COMBINED[field][0]), "": ["ast"] } },
  };
  if (options.values["--evm-version"]) settings.evmVersion = options.values["--evm-version"];
  const sources = {};
  for (const file of options.files) sources[file] = { content: fs.readFileSync(file, "utf8") };
  const output = JSON.parse(compile(JSON.stringify({ language: "Solidity", sources, settings }), options));

  for (const error of output.errors || []) process.stderr.write(error.formattedMessage + "\n");
  if ((output.errors || []).some((error) => error.severity === "error")) {
    process.exitCode = 1;
    return;
  }
  const contracts = {};
  for (const [file, named] of Object.entries(output.contracts || {}))
    for (const [name, contract] of Object.entries(named))
      contracts[`${file}:${name}`] = Object.fromEntries(fields.map((field) => [field, COMBINED[field][1](contract)]));
  const listed = Object.entries(output.sources).sort(([, a], [, b]) => a.id - b.id);
  const trees = Object.fromEntries(listed.map(([file, source]) => [file, { AST: source.ast }]));
  const version = require("solc").version();
  process.stdout.write(JSON.stringify({ contracts, sourceList: Object.keys(trees), sources: trees, version }));
}

function main() {
  const options = parse(process.argv.slice(2));
  if (options.flags.has("--version")) {
    const banner = "solc, the solidity compiler commandline interface\n";
    process.stdout.write(`${banner}Version: ${require("solc").version()}\n`);
  } else if (options.flags.has("--standard-json")) {
    const input = fs.readFileSync(options.files[0] && options.files[0] !== "-" ? options.files[0] : 0, "utf8");
    process.stdout.write(compile(input, options) + "\n");
  } else if (options.values["--combined-json"]) combined(options);
  else {
    process.stderr.write("usage: solc --version | --standard-json [FILE] | --combined-json FIELDS FILE...\n");
    process.exitCode = 2;
  }
}

main();
