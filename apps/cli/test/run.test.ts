/** The command line as a process, on the f64 interpreter. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { graft, project, RUN } from "./helpers.ts";

const host = ["--device", "host"];
const json = (folder: string, file: string): never => JSON.parse(readFileSync(join(folder, file), "utf8")) as never;
const lines = (folder: string, file = "out/metrics.jsonl"): readonly Record<string, unknown>[] =>
  readFileSync(join(folder, file), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const adapter = (folder: string, out = "out"): Buffer =>
  readFileSync(join(folder, out, "adapter/adapter_model.safetensors"));

describe("graft train", { timeout: 120_000 }, () => {
  it("writes the files of a run", async () => {
    const folder = await project();
    const { status, stdout, stderr } = await graft(folder, ["train", "run.yaml", ...host]);
    expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: "" });
    expect(stderr).toMatch(/trains +\d+ of \d[\d,]* parameters \(\d+\.\d+ %\): lora on 7 sites/);
    expect(readdirSync(join(folder, "out")).toSorted()).toEqual([
      "adapter",
      "metrics.jsonl",
      "run.yaml",
      "summary.json",
    ]);
    const metrics = lines(folder);
    expect(metrics.map((line) => line["step"])).toEqual([1, 2, 3, 4, 5, 6, 6]);
    expect(Object.keys(metrics[0] ?? {})).toEqual(["step", "loss", "grad_norm", "lr", "tokens", "ms"]);
    expect(metrics.at(-1)).toMatchObject({ step: 6, eval: { loss: expect.any(Number) as number } });
    expect(json(folder, "out/summary.json")).toMatchObject({
      trainable: expect.any(Number) as number,
      total: expect.any(Number) as number,
      percent: expect.any(Number) as number,
      adapter_bytes: expect.any(Number) as number,
      memory: { planned: { weights: expect.any(Number) as number }, peak: {} },
      steps: 6,
      final: { loss: metrics.at(-2)?.["loss"] },
    });
  });

  it("writes a run file that gives the same bits again", async () => {
    const folder = await project();
    await graft(folder, ["train", "run.yaml", ...host]);
    const again = await graft(folder, ["train", "out/run.yaml", "--out", "again", ...host]);
    expect(again.status, again.stderr).toBe(0);
    expect(adapter(folder, "again")).toEqual(adapter(folder));
  });

  it("takes keys as flags and prints one JSON value", async () => {
    const folder = await project();
    const { status, stdout, stderr } = await graft(folder, [
      "train",
      "run.yaml",
      "--json",
      "--train.steps",
      "2",
      "--methods.0.rank=1",
      ...host,
    ]);
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ steps: 2 });
    expect(readFileSync(join(folder, "out/run.yaml"), "utf8")).toMatch(/rank: 1\n/);
  });

  it("finishes the step at Ctrl-C, and resumes to the bits of an uninterrupted run", async () => {
    const folder = await project(RUN.replace("steps: 6", "steps: 60"));
    const straight = await graft(folder, ["train", "run.yaml", "--out", "straight", ...host]);
    expect(straight.status, straight.stderr).toBe(0);
    let sent = false;
    const stopped = await graft(folder, ["train", "run.yaml", ...host], (stderr, signal) => {
      if (!sent && /step +1\/60/.test(stderr)) [sent] = [true, signal("SIGINT")];
    });
    expect(stopped.status, stopped.stderr).toBe(130);
    expect(stopped.stderr).toMatch(
      /interrupted after step \d+ of 60; a checkpoint is saved\. Go on with: \.\/graft train run\.yaml --device host --resume\n/,
    );
    expect(existsSync(join(folder, "out/adapter"))).toBe(false);
    const resumed = await graft(folder, ["train", "run.yaml", "--resume", ...host]);
    expect(resumed.status, resumed.stderr).toBe(0);
    expect(adapter(folder)).toEqual(adapter(folder, "straight"));
    const losses = (out: string): readonly unknown[] =>
      lines(folder, `${out}/metrics.jsonl`).map((line) => [line["step"], line["loss"]]);
    expect(losses("out")).toEqual(losses("straight"));
  });

  it("leaves a finished run alone unless forced", async () => {
    const folder = await project(RUN.replace("steps: 6", "steps: 1"));
    await graft(folder, ["train", "run.yaml", ...host]);
    const before = adapter(folder);
    const refused = await graft(folder, ["train", "run.yaml", "--train.seed", "1", ...host]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toBe(
      "graft: out holds a finished run. Choose another folder (--out), or delete what it left with --force.\n",
    );
    expect(adapter(folder)).toEqual(before);
    const forced = await graft(folder, ["train", "run.yaml", "--train.seed", "1", "--force", ...host]);
    expect(forced.status, forced.stderr).toBe(0);
    expect(adapter(folder)).not.toEqual(before);
  });

  it("refuses to resume under other settings, and keeps the checkpoint", async () => {
    const folder = await project(RUN.replace("steps: 6", "steps: 3"));
    await graft(folder, ["train", "run.yaml", "--train.save_every", "2", ...host]);
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--resume", "--train.lr", "0.5", ...host]);
    expect(status).toBe(2);
    expect(stderr).toContain("lr is 0.001 there and 0.5 here");
    expect(readdirSync(join(folder, "out/checkpoints"))).toEqual(["step-2"]);
    expect(lines(folder)).toHaveLength(4);
  });

  it("fails, with what was there untouched, when the folder cannot be written", async () => {
    const folder = await project();
    writeFileSync(join(folder, "file"), "not a folder");
    const { status, stderr } = await graft(folder, ["train", "run.yaml", "--out", "file/out", ...host]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/graft: E?.*file\/out/);
    expect(readFileSync(join(folder, "file"), "utf8")).toBe("not a folder");
  });

  it("trains from random weights, and merges the result into a model", async () => {
    const folder = await project(
      RUN.replace(/methods:\n.*\n/, "init: random\nmethods: [{ name: full }]\n").replace("steps: 6", "steps: 2"),
    );
    const trained = await graft(folder, ["train", "run.yaml", ...host]);
    expect(trained.status, trained.stderr).toBe(0);
    expect(trained.stderr).toContain("(100 %)");
    const merged = await graft(folder, ["merge", "run.yaml", "--out", "whole", ...host, "--json"]);
    expect(merged.status, merged.stderr).toBe(0);
    const written = await graft(folder, ["generate", "--model", "whole", "--prompt", "a", "--json", ...host]);
    expect(written.status, written.stderr).toBe(0);
  });

  it("starts from a saved adapter, and keeps a frozen one under it as it is", async () => {
    const folder = await project(RUN.replace("steps: 6", "steps: 2"));
    await graft(folder, ["train", "run.yaml", ...host]);
    const before = adapter(folder);
    const without = RUN.replace(
      /methods:\n.*\n/,
      "adapter: [{ path: out/adapter, frozen: true }, { path: out/adapter }]\n",
    ).replace("out: out", "out: second");
    writeFileSync(join(folder, "second.yaml"), without);
    const second = await graft(folder, ["train", "second.yaml", ...host]);
    expect(second.status, second.stderr).toBe(0);
    expect(adapter(folder)).toEqual(before);
    expect(adapter(folder, "second")).not.toEqual(before);
    const used = await graft(folder, ["eval", "second.yaml", "--json", ...host]);
    const { eval: last } = lines(folder, "second/metrics.jsonl").at(-1) as { eval: { loss: number } };
    expect((JSON.parse(used.stdout) as { adapted: { loss: number } }).adapted.loss).toBeCloseTo(last.loss, 6);
  });
});

describe("a stack of adapters", { timeout: 120_000 }, () => {
  it.each([
    ["under", "{ path: out/adapter, frozen: true }", /lora on 7 sites, then lora on 7 sites \(frozen\)/],
    ["around", "{ path: out/adapter, frozen: true, inside: true }", /lora on 7 sites \(frozen\), then lora on 7 sites/],
  ])("is evaluated as it was trained when the run's methods lie %s a frozen one", async (_, start, told) => {
    const folder = await project(RUN.replace("steps: 6", "steps: 2"));
    await graft(folder, ["train", "run.yaml", "--train.lr", "0.1", ...host]);
    const stacked = `${RUN.replace("out: out", "out: second").replace("steps: 6", "steps: 2")}adapter: [${start}]\n`;
    writeFileSync(join(folder, "second.yaml"), stacked);
    const trained = await graft(folder, ["train", "second.yaml", ...host]);
    expect(trained.status, trained.stderr).toBe(0);
    expect(trained.stderr).toMatch(told);
    const { stdout } = await graft(folder, ["eval", "second.yaml", "--json", ...host]);
    const { eval: last } = lines(folder, "second/metrics.jsonl").at(-1) as { eval: { loss: number } };
    expect((JSON.parse(stdout) as { adapted: { loss: number } }).adapted.loss).toBeCloseTo(last.loss, 6);
  });
});

describe("graft eval, generate and merge", { timeout: 120_000 }, () => {
  it("use the adapter of a finished run", async () => {
    const folder = await project();
    await graft(folder, ["train", "run.yaml", "--train.lr", "0.05", ...host]);
    const evaluated = await graft(folder, ["eval", "run.yaml", "--json", ...host]);
    const { base, adapted } = JSON.parse(evaluated.stdout) as { base: { loss: number }; adapted: { loss: number } };
    expect(adapted.loss).toBeCloseTo((lines(folder).at(-1) as { eval: { loss: number } }).eval.loss, 6);
    expect(adapted.loss).not.toBe(base.loss);

    const merged = await graft(folder, [
      "merge",
      "--model",
      "model",
      "--adapter",
      "out/adapter",
      "--out",
      "merged",
      "--json",
      ...host,
    ]);
    const report = JSON.parse(merged.stdout) as { relative: number };
    expect(report.relative).toBeLessThan(1e-5);

    const write = async (...args: readonly string[]) =>
      JSON.parse(
        (
          await graft(folder, [
            "generate",
            ...args,
            "--prompt",
            "the",
            "--prompt",
            "a",
            "--max-new-tokens",
            "6",
            "--json",
            ...host,
          ])
        ).stdout,
      ) as unknown[];
    const attached = await write("run.yaml");
    expect(attached).toHaveLength(2);
    expect(await write("--model", "merged")).toEqual(attached);
    expect(await write("--model", "model")).not.toEqual(attached);
  });

  it("writes on token ids for a model without a tokenizer", async () => {
    const folder = await project();
    const { stdout } = await graft(folder, [
      "generate",
      "--model",
      "model",
      "--ids",
      "1 5 6",
      "--max-new-tokens",
      "3",
      ...host,
    ]);
    expect(stdout).toMatch(/^\d+( \d+){0,2}\n$/);
  });

  it("gives the same draw for the same seed", async () => {
    const folder = await project();
    const draw = async (seed: string) =>
      (
        await graft(folder, [
          "generate",
          "--model",
          "model",
          "--prompt",
          "a",
          "--temperature",
          "1.5",
          "--seed",
          seed,
          "--max-new-tokens",
          "12",
          ...host,
        ])
      ).stdout;
    expect(await draw("1")).toBe(await draw("1"));
    expect(await draw("1")).not.toBe(await draw("2"));
  });

  it("refuses a run that has not been trained, and folders that hold something else", async () => {
    const folder = await project();
    const untrained = await graft(folder, ["generate", "run.yaml", "--prompt", "a", ...host]);
    expect(untrained.status).toBe(2);
    expect(untrained.stderr).toContain("run.yaml has not been trained");
    const onto = await graft(folder, ["merge", "--model", "model", "--adapter", "out/adapter", "--out", ".", ...host]);
    expect(onto.status).toBe(2);
    expect(readdirSync(folder)).toContain("train.jsonl");
  });
});

describe("other verbs", { timeout: 120_000 }, () => {
  it("inspect shows where methods attach and what is learnt", async () => {
    const folder = await project();
    const { status, stdout, stderr } = await graft(folder, ["inspect", "run.yaml", ...host]);
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/linear +model\.layers\.\*\.self_attn\.q_proj +attn\.q +8 → 8 +lora/);
    expect(stdout).toMatch(/memory +[\d.]+ [kM]?B: /);
    expect(stdout).toContain("train.jsonl:1: 10 tokens, 10 learnt");
  });

  it("methods lists names, packages and keys", async () => {
    const folder = await project();
    const { stdout } = await graft(folder, ["methods", "--json"]);
    const methods = JSON.parse(stdout) as readonly {
      name: string;
      package: string;
      keys: readonly { key: string; default: unknown }[];
    }[];
    expect(methods.map((m) => m.name)).toEqual(expect.arrayContaining(["full", "lora", "top"]));
    expect(methods.find((m) => m.name === "lora")).toMatchObject({ package: "@graftml/lora" });
  });

  it("validate lists every problem with its line and changes nothing", async () => {
    const folder = await project(`model: modle
methods:
  - { name: lora, rnak: 2 }
  - { name: loar }
data:
  train: [train.jsonl, train.doc]
`);
    const { status, stderr, stdout } = await graft(folder, ["validate", "run.yaml"]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr.replaceAll(folder, "")).toMatchInlineSnapshot(`
      "graft: run.yaml:1: there is no folder modle; a name on the Hub would be org/name.
             run.yaml:3: methods[0].rnak: unknown key. Did you mean "rank"?
             run.yaml:4: no installed package has the method "loar". Did you mean "lora"? Name a file to use your own: ./my-method.ts.
             run.yaml:6: there is no data file train.doc.
             run.yaml:1: out is missing: the folder for what the run writes.
      "
    `);
  });

  it("misspelt options are refused with the nearest one", async () => {
    const folder = await project();
    const key = await graft(folder, ["generate", "--modle", "model"]);
    expect(key).toMatchObject({ status: 2, stderr: "graft: unknown option --modle. Did you mean --model?\n" });
    const option = await graft(folder, ["generate", "--model", "model", "--promt", "a"]);
    expect(option).toMatchObject({ status: 2, stderr: "graft: unknown option --promt. Did you mean --prompt?\n" });
    expect((await graft(folder, ["doctor", "--jsn"])).stderr).toContain("Did you mean --json?");
  });

  it("an unknown verb is refused with the nearest one", async () => {
    const { status, stderr } = await graft(await project(), ["trian"]);
    expect(status).toBe(2);
    expect(stderr).toContain("Did you mean train?");
  });
});
