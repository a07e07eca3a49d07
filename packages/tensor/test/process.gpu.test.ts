/** @file What a runtime does to the process it runs in, seen in processes of their own. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

/** Runs a script of this folder. */
const inNode = (script: string, ...options: readonly string[]) =>
  spawnSync(process.execPath, [...options, join(import.meta.dirname, script)], { encoding: "utf8" });

describe("a process with a device", () => {
  it("does not grow with the number of runs", () => {
    // Little garbage at a time, so that what grows is not the heap's own spare room.
    const { status, stdout } = inNode("growth.ts", "--expose-gc", "--max-semi-space-size=1");
    expect(status).toBe(0);
    const { rss, arrayBuffers, allocated } = JSON.parse(stdout) as Record<string, number>; // what the script prints
    expect(rss).toBeLessThan(2 ** 20); // 4 kB a run would be more
    expect(arrayBuffers).toBeLessThan(300); // every run uploads and reads back more than a byte
    expect(allocated).toBe(0);
  });

  it("keeps Dawn's instance alive through garbage collections", () => {
    const { status, signal, stdout } = inNode("instance.ts", "--expose-gc");
    expect({ status, signal, stdout }).toEqual({ status: 0, signal: null, stdout: "4\n" });
  });
});
