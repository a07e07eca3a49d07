// Runs a program of this clone under a supported Node: `node scripts/launch.cjs FILE [ARGUMENT ...]`.
// The first start prepares the clone; a later one only compares a stamp. CommonJS, because loading ES modules would be
// most of what a later start costs, and plain JavaScript for any Node >= 18.
"use strict";

const { existsSync, readFileSync, writeFileSync } = require("node:fs");
const { join, resolve } = require("node:path");

const root = resolve(__dirname, "..");
const condition = "--conditions=@graftml/source";

/**
 * Whether a Node of this version runs TypeScript sources as they are.
 *
 * @param {string} version
 */
function isSupported(version) {
  const [major = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  return major >= 24 || (major === 22 && minor >= 18);
}

/** The stamp of a prepared clone: the Node that it was prepared with, then the lockfile that was installed. */
const stamp = join(root, "node_modules/.graft-ready");
const lockfile = () => readFileSync(join(root, "pnpm-lock.yaml"), "utf8");

/** The Node to run sources with, if nothing has to be prepared; else null. */
function ready() {
  if (!existsSync(stamp)) return null;
  const [node = "", ...lines] = readFileSync(stamp, "utf8").split("\n");
  if (lines.join("\n") !== lockfile()) return null;
  if (isSupported(process.versions.node)) return process.execPath;
  return existsSync(node) ? node : null;
}

/**
 * Records that the clone is ready to run under `node`.
 *
 * @param {string} node
 */
function markReady(node) {
  writeFileSync(stamp, `${node}\n${lockfile()}`);
}

/** Makes the clone ready; null, with the reason on stderr and status 1, if that fails. */
async function prepared() {
  const { prepare } = await import("./prepare.mjs");
  try {
    return prepare();
  } catch (error) {
    process.stderr.write(`graft: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
    return null;
  }
}

/**
 * Runs `file` (relative to the clone) with `args`: in this process if it can, else in a child whose exit status becomes ours.
 *
 * @param {string} file
 * @param {readonly string[]} args
 */
async function launch(file, args) {
  const node = ready() ?? (await prepared());
  if (node === null) return;
  const path = join(root, file);
  if (node === process.execPath && process.execArgv.includes(condition)) {
    await import(require("node:url").pathToFileURL(path).href);
    return;
  }
  const child = require("node:child_process").spawn(node, [condition, path, ...args], { stdio: "inherit" });
  // Ctrl-C on a terminal reaches the child by itself, and a second one would mean "stop at once".
  const pass = (/** @type {NodeJS.Signals} */ signal) => {
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  };
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(signal, pass);
  child.on("exit", (code, signal) => {
    process.exitCode = signal === null ? (code ?? 1) : 128 + require("node:os").constants.signals[signal];
  });
}

module.exports = { isSupported, launch, markReady, root };

if (require.main === module) {
  const [file, ...args] = process.argv.slice(2);
  if (file === undefined) throw new Error("launch: which file? Usage: node scripts/launch.cjs FILE [ARGUMENT ...]");
  void launch(file, args);
}
