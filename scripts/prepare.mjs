// Makes a fresh clone ready, and says each thing it does: a supported Node, pnpm, the dependencies, a WebGPU adapter.
// Plain JavaScript without dependencies, for any Node >= 18. Everything but the graphics driver stays inside the clone.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { ensureAdapter } from "./driver.mjs";
import { isSupported, markReady, root } from "./launch.cjs";

/** What is installed when the Node at hand is too old. */
const NODE = "24.21.0";

/** Progress goes to stderr: a program's stdout is its own. */
const say = (/** @type {string} */ line) => process.stderr.write(`graft: ${line}\n`);

/**
 * Runs a command quietly; on failure shows what it printed and stops.
 *
 * @param {string} what
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import("node:child_process").SpawnSyncOptions} options
 */
function run(what, command, args, options) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { ...options, encoding: "utf8" });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ""}${stderr ?? ""}`);
  throw new Error(`${what} failed (${error?.message ?? `exit status ${status}`}).`);
}

/**
 * Installs one package, version and all, into .graft/ with the npm that came with the Node at hand.
 *
 * @param {string} spec
 */
function npmInstall(spec) {
  const home = join(root, ".graft");
  mkdirSync(home, { recursive: true });
  if (!existsSync(join(home, "package.json"))) writeFileSync(join(home, "package.json"), '{ "private": true }\n');
  // Settings that an outer npm (`npm test`) passes down would point this one at the wrong project.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !/^npm_(config_(local_)?prefix|package_|lifecycle_)/.test(key)),
  );
  const options = { cwd: home, env, shell: process.platform === "win32" };
  run(
    `npm install ${spec}`,
    "npm",
    ["install", "--no-audit", "--no-fund", "--save-exact", "--foreground-scripts", spec],
    options,
  );
}

/** A Node that runs the sources: the one at hand, or one installed into the clone. */
function ensureNode() {
  if (isSupported(process.versions.node)) return process.execPath;
  const own = join(root, ".graft/node_modules/node/bin", process.platform === "win32" ? "node.exe" : "node");
  const works = () => isSupported(spawnSync(own, ["--version"], { encoding: "utf8" }).stdout?.trim() ?? "");
  if (works()) return own;
  say(`Node ${process.versions.node} is too old (needs 22.18): installing Node ${NODE} into .graft/ …`);
  npmInstall(`node@${NODE}`);
  if (!works())
    throw new Error(`${own} does not start. Remove .graft/ and try again, or install Node >= 22.18 by hand.`);
  return own;
}

const manifest = (/** @type {string} */ folder) =>
  /** @type {{ readonly version: string; readonly packageManager: string }} */ (
    JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  );

/** The pnpm that package.json pins, as a script for Node. */
function ensurePnpm() {
  const spec = manifest(root).packageManager;
  const folder = join(root, ".graft/node_modules/pnpm");
  if (!existsSync(folder) || `pnpm@${manifest(folder).version}` !== spec) {
    say(`installing ${spec.replace("@", " ")} into .graft/ …`);
    npmInstall(spec);
  }
  return join(folder, "bin/pnpm.mjs");
}

/** Prepares the clone and returns the path of the Node to run it with. */
export function prepare() {
  const node = ensureNode();
  const pnpm = ensurePnpm();
  say("installing the dependencies …");
  const env = { ...process.env, PATH: [dirname(node), process.env["PATH"]].join(delimiter) };
  run("pnpm install", node, [pnpm, "install", "--frozen-lockfile", "--config.confirm-modules-purge=false"], {
    cwd: root,
    env,
  });
  markReady(node);
  const adapter = ensureAdapter(node, say);
  if (adapter !== null) say(`ready. WebGPU adapter: ${adapter}.`);
  else say("ready, but without a WebGPU adapter, which training needs: `node scripts/driver.mjs` looks for one again.");
  return node;
}
