// Runs every check of the repository, one line each, and shows the output of those that fail. The last line counts the tests
// and the other checks together: `N passed, N failed`.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { root } from "./launch.cjs";

const SHOWN_LINES = 120;

/** How many things a stage checked, by outcome. */
interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface Stage {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Reads the counts of a finished command; without it the stage is one check. */
  readonly count?: (status: number) => Counts;
}

const reports = join(root, "node_modules/.cache/graft");
const testReport = join(reports, "tests.json");
const script = (name: string): readonly [string, ...string[]] => [process.execPath, join(root, "scripts", name)];

const stages: readonly Stage[] = [
  { name: "format", command: ["oxfmt", "--check"] },
  { name: "lint", command: ["oxlint", "--type-aware", "--deny-warnings"] },
  { name: "types and build", command: ["tsc", "-b"] },
  { name: "boundaries", command: ["turbo", "boundaries"] },
  { name: "versions", command: ["sherif"] },
  { name: "dead code", command: ["knip"] },
  { name: "published shape", command: script("check-shape.mts") },
  {
    name: "tests",
    command: ["npm", "test", "--", "--reporter=dot", "--reporter=json", `--outputFile.json=${testReport}`],
    count: countTests,
  },
  { name: "browser", command: script("check-browser.mts") },
  { name: "docs", command: script("check-docs.mts") },
  { name: "packed packages", command: script("check-packed.mts") },
];

/** Counts in vitest's report. A run that failed outside its tests (no report, an error between tests) is one failure. */
function countTests(status: number): Counts {
  if (!existsSync(testReport)) return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(readFileSync(testReport, "utf8")) as Record<string, number>; // vitest's JSON reporter, numbers at its top
  const { numPassedTests: passed = 0, numFailedTests: failed = 0, numPendingTests = 0, numTodoTests = 0 } = report;
  return { passed, failed: failed === 0 && status !== 0 ? 1 : failed, skipped: numPendingTests + numTodoTests };
}

function run(stage: Stage): Counts {
  const began = performance.now();
  const [command, ...args] = stage.command;
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    env: {
      ...process.env,
      REQUIRE_GPU: "1",
      NO_COLOR: "1",
      TURBO_TELEMETRY_DISABLED: "1",
      PATH: [dirname(process.execPath), join(root, "node_modules/.bin"), process.env["PATH"]].join(delimiter),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const counts = (stage.count ?? ((code) => ({ passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 })))(
    status ?? 1,
  );
  const seconds = ((performance.now() - began) / 1000).toFixed(1).padStart(6);
  const detail = stage.count === undefined ? "" : `  ${summary(counts)}`;
  console.log(`${counts.failed === 0 ? "ok  " : "FAIL"} ${seconds} s  ${stage.name}${detail}`);
  if (counts.failed > 0) showEnd(`${stdout}${stderr}${error?.message ?? ""}`);
  return counts;
}

/** Shows the last lines of a command's output: where tools put what matters. */
function showEnd(output: string): void {
  const lines = stripVTControlCharacters(output).trimEnd().split("\n");
  if (lines.length > SHOWN_LINES) console.log(`  | … ${lines.length - SHOWN_LINES} lines before`);
  for (const line of lines.slice(-SHOWN_LINES)) console.log(`  | ${line}`);
}

const summary = ({ passed, failed, skipped }: Counts): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;

rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });
const results = stages.map(run);
// The size vector, for information.
spawnSync(process.execPath, [join(root, "scripts/size.mts")], { stdio: "inherit" });
const total = (key: keyof Counts): number => results.reduce((sum, counts) => sum + counts[key], 0);
const totals: Counts = { passed: total("passed"), failed: total("failed"), skipped: total("skipped") };
console.log(summary(totals));
process.exitCode = totals.failed === 0 ? 0 : 1;
