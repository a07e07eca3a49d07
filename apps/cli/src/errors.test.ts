import { ConfigError } from "@graftml/peft";
import { DeviceError } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { describeError, exitCodeOf, Interrupted, NoDevice, refuseProblems, UsageError } from "./errors.ts";

describe("an error", () => {
  it.each([
    [new UsageError("x"), 2, 2],
    [new ConfigError("x"), 2, 1],
    [new DeviceError("needs 5 GB"), 2, 1],
    [new NoDevice("x"), 1, 1],
    [new Interrupted("x"), 130, 130],
    [new TypeError("x"), 1, 1],
    ["thrown text", 1, 1],
  ])("%s ends a command with its status, before and after work began", (error, before, after) => {
    expect([exitCodeOf(error, false), exitCodeOf(error, true)]).toEqual([before, after]);
  });

  it("is told in a line, and with its stack only if asked for", () => {
    const error = new ConfigError("lora.rank: wants a number", { cause: new Error("inner") });
    expect(describeError(error, { debug: false })).toBe("lora.rank: wants a number");
    expect(describeError(error, { debug: true })).toMatch(
      /ConfigError: lora\.rank[\s\S]+at [\s\S]+caused by: Error: inner/,
    );
  });

  it("of ours is told apart from one of the system and from a fault", () => {
    expect(describeError(Object.assign(new Error("write"), { code: "ENOSPC" }), { debug: false })).toBe(
      "the disk is full: write",
    );
    expect(describeError(Object.assign(new Error("EACCES: no, open 'x'"), { code: "EACCES" }), { debug: false })).toBe(
      "EACCES: no, open 'x'",
    );
    expect(describeError(new TypeError("x is undefined"), { debug: false })).toMatch(
      /^unexpected: x is undefined\n.*--debug/,
    );
  });

  it("lists at most a dozen problems", () => {
    const problems = Array.from({ length: 20 }, (_, i) => `problem ${i}`);
    expect(() => refuseProblems(problems)).toThrow(/problem 11\n… and 8 more\.$/);
    expect(() => refuseProblems([])).not.toThrow();
  });
});
