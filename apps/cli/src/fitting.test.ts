import type { MemoryPlan } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { type Changes, changed, findFit, showFit } from "./fitting.ts";
import { type Run, runSchema } from "./schema.ts";

const run: Run = runSchema.parse({
  model: "model",
  methods: [{ name: "lora" }],
  data: { max_length: 256 },
  train: { batch_size: 8 },
});

/** Bytes of a model of 1000 weights: rows take 100 each, 20 if recomputed; codes take an eighth of f32; of moments a quarter stays. */
function planOf({ weights, methods, data, train }: Run): MemoryPlan {
  const row = train.checkpoint_activations ? 20 : 100;
  const bits = methods.some(({ name }) => name === "quant") ? 4 : weights === "f16" ? 16 : 32;
  return {
    weights: (1000 * bits) / 8,
    optimizer: (train.optimizer === "adamw" ? 800 : 200) / (train.paged_optimizer ? 4 : 1),
    activations: (row * train.batch_size * data.max_length) / 256,
  };
}

const plan = async (changes: Changes): Promise<MemoryPlan> => planOf(changed(run, changes));
const chosenFor = async (limit: number): Promise<readonly string[] | undefined> =>
  (await findFit(run, limit, plan)).chosen?.settings;

describe("findFit", () => {
  it("takes the run as it is if it fits", async () => {
    expect(await chosenFor(5600)).toEqual([]);
    expect((await findFit(run, 5600, plan)).candidates).toHaveLength(1);
  });

  it("takes what changes no result before anything else", async () => {
    expect(await chosenFor(5000)).toEqual(["checkpoint_activations"]);
    expect(await chosenFor(4900)).toEqual(["checkpoint_activations", "batch_size 4 × accumulate 2"]);
    expect(await chosenFor(4820)).toEqual(["checkpoint_activations", "batch_size 1 × accumulate 8"]);
  });

  it("takes what is kept of recomputed blocks to the host before it makes batches smaller, and back if those do alone", async () => {
    const settingsFor = async (limit: number, share: number): Promise<readonly string[] | undefined> => {
      const offloading = async (changes: Changes): Promise<MemoryPlan> => {
        const { activations = 0, ...rest } = await plan(changes);
        const offloaded = changes.train?.offload_activations === true ? activations * share : 0;
        return { ...rest, activations: activations - offloaded, offloaded };
      };
      return (await findFit(run, limit, offloading)).chosen?.settings;
    };
    expect(await settingsFor(4960, 0.5)).toEqual(["checkpoint_activations"]);
    expect(await settingsFor(4900, 0.5)).toEqual(["checkpoint_activations", "offload_activations"]);
    expect(await settingsFor(4840, 0.5)).toEqual([
      "checkpoint_activations",
      "offload_activations",
      "batch_size 4 × accumulate 2",
    ]);
    expect(await settingsFor(4885, 0.1)).toEqual(["checkpoint_activations", "batch_size 4 × accumulate 2"]);
  });

  it("keeps the rows of a step where they do not halve evenly", async () => {
    const odd = { ...run, train: { ...run.train, batch_size: 3, accumulate: 2 } };
    const { chosen } = await findFit(odd, 4840, async (changes) => planOf(changed(odd, changes)));
    expect(chosen?.changes.train).toMatchObject({ batch_size: 2, accumulate: 3 });
  });

  it("plans no smaller batch that cannot fit", async () => {
    const { candidates } = await findFit(run, 1000, plan);
    expect(candidates.filter(({ settings }) => settings.some((s) => s.startsWith("batch_size")))).toEqual([]);
  });

  it("stores weights in fewer bits next, and then takes back what it need not", async () => {
    expect(await chosenFor(3100)).toEqual(["paged_optimizer", "weights f16"]);
    expect(await chosenFor(2970)).toEqual(["weights f16", "checkpoint_activations"]);
    expect(await chosenFor(2100)).toEqual(["quant nf4, double"]);
  });

  it("leaves out what saves nothing", async () => {
    const whole = async (changes: Changes): Promise<MemoryPlan> => ({ ...(await plan(changes)), weights: 0 });
    const { chosen } = await findFit(run, 300, whole);
    expect(chosen?.changes).toEqual({
      train: { paged_optimizer: true, checkpoint_activations: true, batch_size: 4, accumulate: 2 },
    });
  });

  it("leaves out what cannot stand with the run", async () => {
    const plain = async (changes: Changes): Promise<MemoryPlan | null> =>
      changes.methods === undefined ? plan(changes) : null;
    expect((await findFit(run, 1500, plain)).candidates.flatMap((c) => c.settings)).not.toContain("quant nf4, double");
  });

  it("shortens rows last", async () => {
    expect(await chosenFor(562)).toEqual([
      "paged_optimizer",
      "quant nf4, double",
      "optimizer adamw_8bit",
      "max_length 128",
      "checkpoint_activations",
      "batch_size 1 × accumulate 8",
    ]);
  });
});

describe("showFit", () => {
  it("gives the lines of a run file that make it fit", async () => {
    const text = showFit(await findFit(run, 2100, plan));
    expect(text).toMatch(/✓ +quant nf4, double +2\.1 kB/);
    expect(text).toMatch(/methods:\n {2}- name: quant\n {4}type: nf4\n {4}double_quant: true\n {2}- name: lora$/);
  });

  it("says when nothing fits, and what takes most", async () => {
    expect(showFit(await findFit(run, 300, plan))).toMatch(
      /Nothing fits into 300 B: the least that was found takes 590 B\.$/,
    );
    expect(showFit(await findFit(run, 80, plan))).toContain("50 B of it are for what is trained");
  });
});
