/** @file Suite `qlora`: LoRA on four bits beside LoRA on full precision, and beside PEFT on the same decoded weights, from the same adapter. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { graft } from "../command.ts";
import { askTorch } from "../peers/torch.ts";
import type { Report, Row } from "../report.ts";

const SEEDS = [0, 1, 2];
const [STEPS, ROWS, LENGTH, HELD_OUT, LR] = [300, 16, 64, 500, 5e-3] as const;
const LORA = { name: "lora", rank: 8, alpha: 16, target: "all-linear" };
const stacks = { "on NF4": [{ name: "quant" }, LORA], "on full precision": [LORA] };

/**
 * Held-out losses of stories260K after 300 steps on E2E's references, by seed, and how far NF4 is from the others by the mean.
 * @param folder where models and data lie, in folders of these names.
 */
export async function qlora({ folder }: { readonly folder: string }): Promise<Report> {
  const [model, data] = [resolve(folder, "models/stories260K"), resolve(folder, "data/e2e")];
  const out = await mkdtemp(join(tmpdir(), "graft-qlora-"));
  try {
    const found: Record<string, readonly number[]> = {};
    for (const [name, methods] of Object.entries(stacks)) {
      const losses: number[] = [];
      for (const seed of SEEDS)
        losses.push(await run(out, { model, data, methods, seed, steps: STEPS, lr: LR, to: "out" }));
      found[name] = losses;
    }
    const starts: string[] = [];
    for (const seed of SEEDS) {
      await run(out, { model, data, methods: stacks["on NF4"], seed, steps: 1, lr: 0, to: `start-${seed}` });
      starts.push(join(out, `start-${seed}/adapter`));
    }
    const asked = { model, data, starts, steps: STEPS, rows: ROWS, length: LENGTH, heldOut: HELD_OUT, lr: LR };
    const answer = (await askTorch("torch_qlora.py", asked)) as readonly number[] | null; // what the script prints
    if (answer !== null) found["PEFT on the decoded NF4"] = answer;
    const nf4 = mean(found["on NF4"] ?? []);
    const rows = Object.entries(found).map(([name, losses]): Row => {
      const each = Object.fromEntries(losses.map((loss, i) => [`seed ${SEEDS[i]}`, loss]));
      return { name, figures: { ...each, mean: mean(losses), "NF4 over this, %": 100 * (nf4 / mean(losses) - 1) } };
    });
    return { suite: `qlora (held-out loss, ${STEPS} steps of ${ROWS} rows)`, rows };
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

const mean = (xs: readonly number[]): number => xs.reduce((sum, x) => sum + x, 0) / xs.length;

/** What to train, how long, and the folder that it goes to. */
interface Run {
  readonly model: string;
  readonly data: string;
  readonly methods: object;
  readonly seed: number;
  readonly steps: number;
  readonly lr: number;
  readonly to: string;
}

/** Trains by the command line, and gives the held-out loss. */
async function run(out: string, { model, data, methods, seed, steps, lr, to }: Run): Promise<number> {
  const rows = { columns: { text: "ref" }, max_length: LENGTH, shuffle: false, eval_rows: HELD_OUT };
  const file = {
    model,
    methods,
    data: { train: join(data, "trainset.csv"), eval: join(data, "devset.csv"), ...rows },
    train: { steps, batch_size: ROWS, lr, seed },
    out: to,
  };
  await writeFile(join(out, "run.json"), JSON.stringify(file));
  await graft(out, ["train", "run.json", "--force"]);
  const summary = JSON.parse(await readFile(join(out, to, "summary.json"), "utf8")) as {
    readonly final: { readonly eval: { readonly loss: number } };
  }; // as the contract says
  return summary.final.eval.loss;
}
