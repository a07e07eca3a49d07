/** Prompts that choose among adapters by name, on the interpreter. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { graft, project } from "./helpers.ts";

/** Adapters of different kinds, trained apart on the same model. */
const kinds = {
  low: "{name: lora, rank: 2, target: all-linear}",
  keys: "{name: prefix, tokens: 3}",
  rows: "{name: prompt, tokens: 2}",
} as const;

describe("graft generate with adapters by name", { timeout: 120_000 }, () => {
  const named = Object.keys(kinds).flatMap((name) => ["--adapter", `${name}=${name}/adapter`]);
  const write = (folder: string, ...args: readonly string[]) =>
    graft(folder, ["generate", "--model", "model", "--max-new-tokens", "6", "--device", "host", ...args]);
  const ids = async (folder: string, ...args: readonly string[]): Promise<readonly (readonly number[])[]> => {
    const { status, stdout, stderr } = await write(folder, "--json", ...args);
    expect(status, stderr).toBe(0);
    return (JSON.parse(stdout) as readonly { readonly ids: readonly number[] }[]).map((w) => w.ids);
  };

  it("writes every prompt as its adapter does alone", async () => {
    const folder = await project();
    for (const [name, method] of Object.entries(kinds)) {
      const keys = ["--methods", `[${method}]`, "--train.lr", "0.1", "--out", name];
      const { status, stderr } = await graft(folder, ["train", "run.yaml", ...keys, "--device", "host"]);
      expect(status, stderr).toBe(0);
    }
    const asked = [
      { prompt: "the cat", adapter: "keys" },
      { prompt: "five", adapter: "low" },
      { prompt: "every egg is", adapter: "__base__" },
      { prompt: "hot dog", adapter: "rows" },
    ];
    const alone = await Promise.all(
      asked.map(async ({ prompt, adapter }) => {
        const attached = adapter === "__base__" ? [] : ["--adapter", `${adapter}/adapter`];
        return (await ids(folder, "--prompt", prompt, ...attached))[0];
      }),
    );
    expect(new Set(alone.map(String)).size).toBeGreaterThan(2);
    writeFileSync(join(folder, "asked.jsonl"), asked.map((row) => `${JSON.stringify(row)}\n`).join(""));
    expect(await ids(folder, ...named, "--prompts", "asked.jsonl")).toEqual(alone);
    const flags = asked.flatMap(({ prompt, adapter }) => ["--prompt", prompt, "--use", adapter]);
    expect(await ids(folder, ...named, ...flags)).toEqual(alone);
    const { status, stderr } = await write(folder, ...named, "--prompt", "a");
    expect(status).toBe(2);
    expect(stderr).toMatch(/which adapter\? Say --use NAME .* of low, keys, rows, __base__\./);
    expect((await write(folder, ...named, "--prompt", "a", "--use", "lov")).stderr).toMatch(/Did you mean "low"\?/);
  });

  it("wants names that differ, and --use only where there are names", async () => {
    const folder = await project();
    const twice = await write(folder, "--adapter", "a=x", "--adapter", "a=y", "--prompt", "a");
    expect(twice.status).toBe(2);
    expect(twice.stderr).toMatch(/two adapters are called "a"/);
    expect((await write(folder, "--use", "a", "--prompt", "a")).stderr).toMatch(/adapters that have names/);
  });
});
