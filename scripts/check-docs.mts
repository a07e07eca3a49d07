// Checks the documentation: every relative link leads somewhere, every code block that names a file equals that file, and every
// example under docs/examples runs. (Their types are checked with everything else, by `tsc -b`.)
//
// A code block names its file after the language: ```ts file=docs/examples/train.ts

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { root } from "./launch.cjs";

const EXAMPLE_TIMEOUT_MS = 300_000;
const faults: string[] = [];

const read = (path: string): string => readFileSync(path, "utf8");

/** GitHub's anchor of each heading. */
function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, title = ""] of withoutCode(markdown).matchAll(/^#+ +(.*)$/gm)) {
    const text = title.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = text.replaceAll(/[^\p{L}\p{N}\p{M}_\- ]/gu, "").replaceAll(" ", "-");
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${slug}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

const withoutCode = (markdown: string): string =>
  markdown.replaceAll(/^(```+)[^\n]*\n.*?^\1$/gms, "").replaceAll(/`[^`\n]*`/g, "");

function checkLinks(file: string): void {
  for (const [, target = ""] of withoutCode(read(file)).matchAll(/\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)/g)) {
    if (/^[a-z]+:/i.test(target)) continue;
    const [path = "", anchor] = target.split("#");
    const at = path === "" ? file : resolve(dirname(file), decodeURIComponent(path));
    if (!existsSync(at)) faults.push(`${relative(root, file)}: the link ${target} leads nowhere.`);
    else if (anchor !== undefined && statSync(at).isFile() && !anchorsOf(read(at)).has(anchor)) {
      faults.push(`${relative(root, file)}: the link ${target} names no heading of ${relative(root, at)}.`);
    }
  }
}

function checkBlocks(file: string): void {
  for (const [, , name = "", code] of read(file).matchAll(/^(```+)\w+ file=(\S+)[^\n]*\n(.*?)^\1$/gms)) {
    const path = join(root, name);
    if (!existsSync(path)) faults.push(`${relative(root, file)}: a code block names ${name}, which does not exist.`);
    else if (read(path) !== code)
      faults.push(`${relative(root, file)}: the code block of ${name} differs from the file.`);
  }
}

function runExample(file: string): void {
  const args = ["--conditions=@graftml/source", join(root, file)];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
    timeout: EXAMPLE_TIMEOUT_MS,
  });
  if (status !== 0) faults.push(`${file} failed (${signal ?? `exit status ${status}`}):\n${stdout}${stderr}`);
}

const tracked = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], {
  cwd: root,
  encoding: "utf8",
});
const pages = tracked.split("\0").filter((file) => file !== "" && existsSync(join(root, file)));
for (const page of pages) {
  checkLinks(join(root, page));
  checkBlocks(join(root, page));
}
const examples = globSync("docs/examples/*.ts", { cwd: root }).toSorted();
for (const example of examples) runExample(example);

console.log(`${pages.length} pages, ${examples.length} examples`);
for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
