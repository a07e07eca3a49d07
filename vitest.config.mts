// Three test projects: `unit` runs anywhere, `gpu` needs a WebGPU adapter, `shared` needs the reference folder beside the clone.

import { spawnSync } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { basename, join } from "node:path";
import { defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

const root = import.meta.dirname;
const tests = (kind: string): string[] => [
  `{packages,apps}/*/{src,test}/**/*${kind}.test.ts`,
  `packages/create-method/template/src/*${kind}.test.ts`,
  `scripts/*${kind}.test.mts`,
];

/** Says in one line which test files do not run, and why; returns the pattern that leaves them out. */
function leaveOut(patterns: readonly string[], why: string): string[] {
  const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).toSorted();
  if (files.length > 0)
    console.warn(`NOT RUN: ${why}; ${files.length} file(s): ${files.map((file) => basename(file)).join(", ")}`);
  return [...patterns];
}

function withoutAdapter(): string[] {
  if (process.env["REQUIRE_GPU"] === "1") return [];
  const probe = spawnSync(process.execPath, [join(root, "scripts/adapter.mjs")], { stdio: "ignore" });
  return probe.status === 0 ? [] : leaveOut(tests(".gpu"), "no WebGPU adapter on this machine");
}

function withoutShared(): string[] {
  if (existsSync(join(root, "../shared/models"))) return [];
  if (process.env["CI"] === "true")
    throw new Error("../shared is absent: in CI the reference folder must lie beside the clone.");
  return leaveOut(tests(".shared"), "../shared is absent, so nothing is compared with the reference models and data");
}

// A file may need both: `*.gpu.shared.test.ts` belongs to `shared`. Files on the device share a process, which keeps what it has
// compiled, and there are two of these: a software adapter compiles with one core, and does so for most of the time.
const always = ["**/node_modules/**", "**/dist/**"];
const onDevice = { pool: "forks", isolate: false, maxWorkers: 2, testTimeout: 120_000, hookTimeout: 120_000 } as const;
const noAdapter = withoutAdapter();
const noShared = withoutShared();

export default defineConfig({
  resolve: { conditions: ["@graftml/source", ...defaultServerConditions] },
  ssr: { resolve: { conditions: ["@graftml/source", ...defaultServerConditions] } },
  test: {
    passWithNoTests: true,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: tests(""),
          exclude: [...always, ...tests(".gpu"), ...tests(".shared")],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          ...onDevice,
          name: "gpu",
          include: tests(".gpu"),
          exclude: [...always, ...noAdapter],
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          ...onDevice,
          name: "shared",
          include: tests(".shared"),
          exclude: [...always, ...noShared, ...(noAdapter.length > 0 ? tests(".gpu.shared") : [])],
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
