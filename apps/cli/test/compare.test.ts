/** Comparisons on the interpreter: what is trained, what is kept, what is told. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Row } from "../src/compare/table.ts";
import { graft, project } from "./helpers.ts";

const compared = (folder: string): readonly Row[] =>
  JSON.parse(readFileSync(join(folder, "out/compare/table.json"), "utf8")) as readonly Row[];

/** Runs of the training loop that a command began. */
const trainings = (stderr: string): number => stderr.match(/step +1\//g)?.length ?? 0;

describe("graft compare", { timeout: 120_000 }, () => {
  const compare = (folder: string, ...args: readonly string[]) =>
    graft(folder, ["compare", "run.yaml", "--device", "host", ...args]);

  it("trains every method from every seed, and tells what each costs and reaches", async () => {
    const folder = await project();
    const { status, stdout, stderr } = await compare(folder, "--methods", "full,lora:{rank: 2}", "--seeds", "0,1");
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/4 runs will take about \d+:\d\d/);
    const [full, lora] = compared(folder);
    expect(full).toMatchObject({ title: "full", lr: 1e-4, seeds: 2, percent: 100, new_parameters: 0 });
    expect(lora).toMatchObject({ title: "lora rank 2", seeds: 2, trainable: 2 * (8 + 8) + 2 * (8 + 4) });
    expect(lora?.new_parameters).toBe(lora?.trainable);
    expect(lora?.latency.merged).toBeGreaterThan(0);
    expect(lora?.peak_bytes).toBeLessThan(full?.peak_bytes ?? 0);
    expect(lora?.eval["loss"]?.mean).toBeGreaterThan(0);
    expect(stdout).toMatch(/^method +rate +trained.*perplexity/);
    expect(readFileSync(join(folder, "out/compare/table.md"), "utf8")).toMatch(/^\| method \|.*\n\| --- \| ---:/);
  });

  it("keeps what is done, and trains what is new or has changed", async () => {
    const folder = await project();
    expect(trainings((await compare(folder, "--methods", "ia3,bitfit")).stderr)).toBe(2);
    const first = compared(folder);
    const { stderr } = await compare(folder, "--methods", "ia3,bitfit,lora");
    expect(trainings(stderr)).toBe(1);
    expect(compared(folder).slice(0, 2)).toEqual(first);
    expect(trainings((await compare(folder, "--methods", "ia3,bitfit", "--train.batch_size", "3")).stderr)).toBe(2);
    expect(trainings((await compare(folder, "--methods", "ia3", "--force")).stderr)).toBe(1);
  });

  it("goes on where it was interrupted", async () => {
    const folder = await project();
    let sent = false;
    const args = ["compare", "run.yaml", "--device", "host", "--methods", "ia3,lora", "--train.steps", "60"];
    const stopped = await graft(folder, args, (stderr, signal) => {
      if (!sent && trainings(stderr) === 2) signal("SIGINT");
      sent ||= trainings(stderr) === 2;
    });
    expect(stopped.status, stopped.stderr).toBe(130);
    expect(stopped.stderr).toMatch(/Go on with: \.\/graft compare run\.yaml .*--compare\.methods=/);
    const { status, stderr } = await graft(folder, args);
    expect(status, stderr).toBe(0);
    expect(trainings(stderr)).toBe(0); // the first is done, the second goes on after its first step
    expect(compared(folder)).toHaveLength(2);
  });

  it("takes the learning rate whose trial has the lowest held-out loss, and keeps no adapter of trials", async () => {
    const folder = await project();
    const { status, stderr } = await compare(
      folder,
      "--methods",
      "lora:{lr: [1.0e-6, 0.03]}",
      "--data.eval",
      "train.jsonl",
    );
    expect(status, stderr).toBe(0);
    expect(compared(folder)).toMatchObject([{ title: "lora", lr: 0.03 }]);
    const cells = readdirSync(join(folder, "out/compare")).filter((name) => name.startsWith("lora-"));
    expect(cells).toHaveLength(3);
    expect(cells.filter((name) => existsSync(join(folder, "out/compare", name, "adapter")))).toHaveLength(1);
  });

  it("makes a row of every configuration of a sweep", async () => {
    const folder = await project();
    const sweep = "blocks:{each: [{blocks: [head]}, {blocks: [0]}]}";
    const { status, stderr } = await compare(folder, "--methods", sweep, "--train.steps", "1");
    expect(status, stderr).toBe(0);
    expect(compared(folder).map((row) => row.title)).toEqual(["blocks [head]", "blocks [0]"]);
  });

  it("refuses what it cannot compare before any work", async () => {
    const folder = await project();
    const said = async (...args: readonly string[]): Promise<string> => {
      const { status, stderr } = await compare(folder, ...args);
      expect(status).toBe(2);
      return stderr;
    };
    expect(await said()).toMatch(/compare\.methods is missing/);
    expect(await said("--methods", "full,lora:{rnk: 2}")).toMatch(/unknown key\. Did you mean "rank"\?/);
    expect(await said("--methods", "full,lorra")).toMatch(/"lorra".*Did you mean "lora"\?/s);
    expect(await said("--methods", "ia3,ia3")).toMatch(/two rows of the comparison are called "ia3"/);
    expect(await said("--methods", "quant:{type: nf4}")).toMatch(/quant type nf4 trains nothing/);
  });
});
