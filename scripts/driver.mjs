// Sees to it that Node can have a WebGPU adapter: on Debian and Ubuntu, as root, by installing Mesa's software driver.
// `sudo node scripts/driver.mjs` does this step alone. Plain JavaScript without dependencies, for any Node >= 18.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Dawn refuses Mesa's software driver before this release. */
const MESA = 24;
const PACKAGES = ["libvulkan1", "mesa-vulkan-drivers"];
const NEEDED = `a Vulkan driver (Mesa >= ${MESA}'s software driver will do)`;

/** @typedef {(line: string) => void} Say */

/**
 * The adapter's name, or null. A process of its own asks, because Vulkan's loader reads its list of drivers only once.
 *
 * @param {string} node
 */
function adapterName(node) {
  const { status, stdout } = spawnSync(node, [fileURLToPath(new URL("adapter.mjs", import.meta.url))], {
    encoding: "utf8",
  });
  return status === 0 ? stdout.trim() : null;
}

/**
 * The name of a WebGPU adapter, installing a software one if there is none and that is allowed; null if none can be had.
 *
 * @param {string} node
 * @param {Say} say
 */
export function ensureAdapter(node, say) {
  const found = adapterName(node);
  if (found !== null) return found;
  const hasApt = process.platform === "linux" && spawnSync("apt-get", ["--version"]).status === 0;
  if (!hasApt) {
    say(`no WebGPU adapter: install ${NEEDED} with this system's own means.`);
    return null;
  }
  if (process.env["GRAFT_NO_INSTALL"] === "1" || process.getuid?.() !== 0) {
    say(
      `no WebGPU adapter. This command installs Mesa's software driver: sudo ${process.execPath} ${fileURLToPath(import.meta.url)}`,
    );
    return null;
  }
  say("no WebGPU adapter: installing Mesa's software driver with apt-get …");
  installMesa(say);
  return adapterName(node);
}

/** @param {readonly string[]} args */
const apt = (...args) =>
  spawnSync("apt-get", ["-q", ...args], {
    encoding: "utf8",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
  });

/** @param {Say} say */
function installMesa(say) {
  // A source that cannot be reached fails an update, and may be one that is not needed: what counts is the candidate.
  apt("update");
  const install = ["install", "-y", "--no-install-recommends"];
  let done;
  if (candidate() >= MESA) {
    done = apt(...install, ...PACKAGES);
  } else {
    const folder = mkdtempSync(join(tmpdir(), "graft-apt-"));
    try {
      const suite = addBackports(folder);
      if (suite === null) return say(`this release offers no Mesa >= ${MESA}: install ${NEEDED} by hand.`);
      say(`this release's Mesa is older than ${MESA}: taking it from ${suite} …`);
      const sources = ["-o", `Dir::Etc::SourceParts=${folder}`];
      apt("update", ...sources);
      done = apt(...install, ...sources, "-t", suite, ...PACKAGES);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  if (done.status !== 0) say(`apt-get failed:\n${done.stdout}${done.stderr}`);
}

/** The major version of Mesa that apt would install. */
function candidate() {
  const { stdout } = spawnSync("apt-cache", ["policy", "mesa-vulkan-drivers"], {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
  });
  return Number(/Candidate: (?:\d+:)?(\d+)/.exec(stdout)?.[1] ?? 0);
}

/**
 * Fills `folder` with this machine's own apt sources and the backports of its Debian release, from the same mirror and
 * under the same key; the machine's configuration stays as it is. Returns the suite's name, or null where there is none.
 *
 * @param {string} folder
 */
function addBackports(folder) {
  const release = readFileSync("/etc/os-release", "utf8");
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(release)?.[1];
  if (codename === undefined || !/^ID=debian$/m.test(release)) return null;
  const suite = `${codename}-backports`;
  const parts = "/etc/apt/sources.list.d";
  const files = readdirSync(parts)
    .filter((file) => /\.(list|sources)$/.test(file))
    .map((file) => join(parts, file));
  for (const file of files) symlinkSync(file, join(folder, basename(file)));
  for (const file of ["/etc/apt/sources.list", ...files]) {
    const source = backportsOf(read(file), codename, suite);
    if (source === null) continue;
    writeFileSync(join(folder, `graft-backports.${file.endsWith(".sources") ? "sources" : "list"}`), source);
    return suite;
  }
  return null;
}

/**
 * The source in `text` that serves the suite `codename`, turned to `suite`: a deb822 stanza or a one-line entry.
 *
 * @param {string} text
 * @param {string} codename
 * @param {string} suite
 */
export function backportsOf(text, codename, suite) {
  for (const stanza of text.split(/\n\s*\n/)) {
    const field = (/** @type {string} */ name) =>
      new RegExp(`^${name}:(.*)$`, "im").exec(stanza)?.[1]?.trim().split(/\s+/) ?? [];
    if (field("Types").includes("deb") && field("Suites").includes(codename)) {
      return `${stanza.trim().replace(/^Suites:.*$/im, `Suites: ${suite}`)}\n`;
    }
  }
  for (const line of text.split("\n")) {
    const [, head, found, components] = /^(deb\s+(?:\[[^\]]*\]\s+)?\S+\s+)(\S+)(\s.*)$/.exec(line) ?? [];
    if (found === codename) return `${head}${suite}${components}\n`;
  }
  return null;
}

const read = (/** @type {string} */ file) => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = ensureAdapter(process.execPath, (line) => process.stderr.write(`${line}\n`));
  process.stderr.write(found === null ? "There is no WebGPU adapter.\n" : `WebGPU adapter: ${found}.\n`);
  process.exitCode = found === null ? 1 : 0;
}
