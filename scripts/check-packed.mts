// Checks that the packages stand alone: packs them, installs the packed files with npm into an empty project outside the clone,
// and there type-checks and runs the example of the root README. The packages must be built.
//
// The example is the first code block after a line `<!-- example -->`. `<!-- example with=PATH -->` also copies that file or
// folder of the repository into the project, under its own name.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { root } from "./launch.cjs";
import { type Manifest, pack, published } from "./workspace.mts";

/** `name@version` of a package as the workspace was tested with it. */
const asTested = (name: string): string => {
  const manifest = JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8")) as Manifest; // npm's own file
  return `${name}@${manifest.version}`;
};

interface Example {
  readonly code: string;
  readonly companion: string | undefined;
}

function readExample(): Example {
  const path = join(root, "README.md");
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const match = /^<!-- example(?: with=(\S+))? -->\s*```ts[^\n]*\n(.*?)^```$/ms.exec(text);
  if (match?.[2] === undefined) {
    throw new Error(
      "README.md has no example: expected a line `<!-- example -->` and after it a ```ts block, to be run here.",
    );
  }
  return { code: match[2], companion: match[1] };
}

/** Runs a command in the project and stops with its output if it fails. */
function run(what: string, project: string, command: string, args: readonly string[]): string {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: project,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (status !== 0)
    throw new Error(`${what} failed (${error?.message ?? `exit status ${status}`}):\n${stdout}${stderr}`);
  return stdout;
}

function check(project: string): void {
  const example = readExample();
  pack();
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
  run("npm install of the packed files", project, "npm", [
    "install",
    "--no-audit",
    "--no-fund",
    ...published.map((each) => each.tarball),
    asTested("webgpu"),
    asTested("vitest"),
    asTested("@types/node"),
  ]);

  // Types as a consumer meets them, and nothing of ours left out of the check.
  writeFileSync(join(project, "example.ts"), example.code);
  writeFileSync(
    join(project, "all.ts"),
    published
      .filter((each) => each.bin === undefined)
      .map((each) => `export * as ${each.name.replace("@graftml/", "")} from "${each.name}";\n`)
      .join(""),
  );
  const compilerOptions = {
    target: "es2023",
    module: "nodenext",
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["example.ts", "all.ts"] }));
  run("the type check against the packed types", project, join(root, "node_modules/.bin/tsc"), ["-p", project]);

  if (example.companion !== undefined)
    cpSync(join(root, example.companion), join(project, basename(example.companion)), { recursive: true });
  run("the README's example", project, process.execPath, ["example.ts"]);
  run("every package's import", project, process.execPath, ["all.ts"]);
  for (const { bin = {} } of published) {
    for (const command of Object.keys(bin))
      run(`${command} --help`, project, join(project, "node_modules/.bin", command), ["--help"]);
  }

  // A method that somebody starts passes the battery, builds and shows up, before a line of it is theirs.
  const bin = (name: string): string => join(project, "node_modules/.bin", name);
  run("create-method", project, bin("create-method"), ["my-method"]);
  const mine = join(project, "my-method");
  run("the battery of a new method", mine, bin("vitest"), ["run", "-u"]); // its first snapshots are new
  run("the build of a new method", mine, join(root, "node_modules/.bin/tsc"), []);
  cpSync(mine, join(project, "node_modules/my-method"), { recursive: true });
  run("a new method in the command line", project, bin("graft"), ["methods", "my-method"]);
}

const project = mkdtempSync(join(tmpdir(), "graft-packed-"));
try {
  check(project);
  console.log(`${published.length} packed packages stand alone`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(project, { recursive: true, force: true });
}
