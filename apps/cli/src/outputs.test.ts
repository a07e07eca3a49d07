import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { emptyFolder, withFiles } from "../test/helpers.ts";
import { claim, clear, openMetrics, resolvedYaml, writeWhole } from "./outputs.ts";
import { runSchema } from "./schema.ts";

const fresh = { resume: false, force: false };

describe("the folder of a run", () => {
  it("is free if it is not there, or holds what is no run's", async () => {
    expect(await claim(join(emptyFolder(), "out"), fresh)).toBeUndefined();
    expect(await claim(withFiles({ "notes.txt": "mine" }), fresh)).toBeUndefined();
  });

  it("is taken if a run is in it, unless forced", async () => {
    const finished = withFiles({ "summary.json": "{}" });
    await expect(claim(finished, fresh)).rejects.toThrow("holds a finished run");
    const interrupted = withFiles({ "checkpoints/step-3/checkpoint.json": "{}" });
    await expect(claim(interrupted, fresh)).rejects.toThrow("holds an interrupted run. Go on with --resume");
    expect(await claim(interrupted, { ...fresh, force: true })).toBeUndefined();
    expect(await claim(interrupted, { ...fresh, resume: true })).toBe(join(interrupted, "checkpoints/step-3"));
  });

  it("cannot be resumed without a checkpoint", async () => {
    await expect(claim(emptyFolder(), { ...fresh, resume: true })).rejects.toThrow(
      "has no checkpoint to resume. Leave out --resume to start.",
    );
  });

  it("is cleared of what runs write, and of nothing else", async () => {
    const folder = withFiles({
      "summary.json": "{}",
      "metrics.jsonl": "",
      "adapter/a": "",
      "checkpoints/step-1/c": "",
      "run.yaml": "",
      "notes.txt": "mine",
    });
    await clear(folder);
    expect(readdirSync(folder)).toEqual(["notes.txt"]);
  });
});

describe("files of a run", () => {
  it("are written whole, or leave nothing", async () => {
    const folder = emptyFolder();
    await writeWhole(join(folder, "a/b.txt"), "text");
    expect(readFileSync(join(folder, "a/b.txt"), "utf8")).toBe("text");
    await expect(writeWhole(join(folder, "a"), "text")).rejects.toThrow();
    expect(readdirSync(folder)).toEqual(["a"]);
  });

  it("hold a line for each step; a resumed run drops those after its checkpoint", async () => {
    const file = join(emptyFolder(), "metrics.jsonl");
    const first = await openMetrics(file, 0);
    for (const step of [1, 2, 3]) first.add({ step });
    expect(readFileSync(file, "utf8")).toBe('{"step":1}\n{"step":2}\n{"step":3}\n');
    first.close();
    const second = await openMetrics(file, 2);
    second.add({ step: 3, again: true });
    second.close();
    expect(readFileSync(file, "utf8")).toBe('{"step":1}\n{"step":2}\n{"step":3,"again":true}\n');
  });

  it.skipIf(!existsSync("/dev/full"))("fail on a full disk, saying so", async () => {
    const { openSync, writeSync } = await import("node:fs");
    const full = openSync("/dev/full", "a");
    expect(() => writeSync(full, "x")).toThrow("ENOSPC");
  });

  it("name other files from where they lie", () => {
    const run = runSchema.parse({
      model: "/a/m",
      methods: [{ name: "/a/mine.ts" }],
      adapter: [{ path: "/a/x" }],
      data: { train: ["/a/t.jsonl"], eval: "/a/e.csv" },
      out: "/a/runs/one",
    });
    const text = resolvedYaml(run, "/a/runs/one", { graft: "1.0.0" });
    expect(text).toContain("model: ../../m\n");
    expect(text).toContain("name: ./../../mine.ts\n");
    expect(text).toContain("path: ../../x\n");
    expect(text).toContain("- ../../t.jsonl\n");
    expect(text).toContain("eval: ../../e.csv\n");
    expect(text).toContain("out: .\n");
    expect(text).toContain("graft: 1.0.0\n");
  });
});
