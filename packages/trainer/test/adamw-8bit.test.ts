import { readFileSync } from "node:fs";
import type { TrainableBucket } from "@graftml/peft";
import { dynamicTable, hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { declareTraining } from "../src/buckets.ts";
import { adamw8bit } from "../src/index.ts";
import { traceUpdate } from "../src/program.ts";

interface Recorded {
  readonly p: string;
  readonly scales: readonly [readonly number[], readonly number[]];
  /** After the first step only. */
  readonly m?: string;
  readonly v?: string;
}
const golden = JSON.parse(readFileSync(new URL("golden/adamw-8bit.json", import.meta.url), "utf8")) as {
  readonly settings: Readonly<Record<"eps" | "weight_decay" | "rate", number>> & {
    readonly betas: readonly [number, number];
  };
  readonly tables: Readonly<Record<"signed" | "unsigned", string>>;
  readonly steps: readonly [Step, Step];
};
interface Step extends Readonly<Record<"a" | "b", Recorded>> {
  readonly step: number;
}

const bytes = (base64: string): Buffer => Buffer.from(base64, "base64");
const floats = (base64: string): Float32Array => new Float32Array(Uint8Array.from(bytes(base64)).buffer);

const sizes = { a: 700, b: 70 } as const;
const wave = (size: number, phase: number): Float32Array =>
  new Float32Array(size).map((_, i) => Math.sin(1.3 * i + phase));
/** Those of scripts/golden/adamw_8bit.py. */
const gradients = (step: number) => ({
  a: Float32Array.from({ length: sizes.a }, (_, i) => (i < 512 ? Math.sin(1.3 * i + step) * 10 ** (-i / 100) : 0)),
  b: wave(sizes.b, 2 * step),
});

/** A parameter and what is remembered of it. */
interface Now {
  readonly p: Float64Array;
  readonly codes: readonly [number[], number[]];
  readonly scales: readonly [number[], number[]];
}

/** What the interpreter has of both parameters after every step. */
async function trajectory(steps: number): Promise<readonly Readonly<Record<"a" | "b", Now>>[]> {
  const runtime = hostRuntime();
  const store = runtime.store();
  const members = (["a", "b"] as const).map((name) => ({
    name: `x/${name}`,
    shape: [sizes[name]],
    values: () => wave(sizes[name], 0),
  }));
  const trainable = store.group("x", members, "trainable").map((bucket): TrainableBucket => ({
    ...bucket,
    members: bucket.members.map((m, i) => ({ ...m, lrScale: i === 0 ? 1 : 4, decay: i === 0 })),
  }));
  const { rate, weight_decay: weightDecay, ...settings } = golden.settings;
  const optimizer = adamw8bit({ ...settings, weightDecay });
  const [first] = declareTraining(store, trainable, optimizer);
  const program = await runtime.compile(store, (trace) => traceUpdate(trace, [first!], { optimizer, maxGradNorm: 0 }));
  const now = async (name: "a" | "b"): Promise<Now> => {
    const [codes, scales] = [await store.read(first!.state[0]!), await store.read(first!.state[1]!)];
    const { offset } = first!.bucket.members.find((m) => m.name === `x/${name}`)!;
    const blocks = Array.from({ length: Math.ceil(sizes[name] / 256) }, (_, i) => offset / 256 + i);
    const each = Array.from({ length: sizes[name] }, (_, i) => offset + i);
    const codeOf = (of: number) => (i: number) => (codes[2 * Math.floor(i / 4) + of]! >>> (8 * (i % 4))) & 255;
    return {
      p: (await store.read(`x/${name}`)) as Float64Array,
      codes: [each.map(codeOf(0)), each.map(codeOf(1))],
      scales: [blocks.map((b) => scales[2 * b]!), blocks.map((b) => scales[2 * b + 1]!)],
    };
  };
  const all: Readonly<Record<"a" | "b", Now>>[] = [];
  for (let step = 1; step <= steps; step++) {
    const given = gradients(step);
    await store.write("gradients/x/a", given.a);
    await store.write("gradients/x/b", given.b);
    await program.run({ optimizer: optimizer.scalars(step, rate) });
    all.push({ a: await now("a"), b: await now("b") });
  }
  return all;
}

const largestGap = (got: ArrayLike<number>, want: ArrayLike<number>): number =>
  Array.from(want).reduce((most, x, i) => Math.max(most, Math.abs(x - got[i]!)), 0);

describe("AdamW with eight-bit moments", () => {
  it("has the code books of bitsandbytes", () => {
    expect(Float32Array.from(dynamicTable({ signed: true }))).toEqual(floats(golden.tables.signed));
    expect(Float32Array.from(dynamicTable({ signed: false }))).toEqual(floats(golden.tables.unsigned));
  });

  it("keeps the codes and scales that bitsandbytes keeps after a step", async () => {
    const [got] = await trajectory(1);
    for (const name of ["a", "b"] as const) {
      const want = golden.steps[0][name];
      expect(got![name].codes[0]).toEqual([...bytes(want.m!)]);
      expect(got![name].codes[1]).toEqual([...bytes(want.v!)]);
      for (const of of [0, 1] as const)
        expect(largestGap(got![name].scales[of], want.scales[of])).toBeLessThan(1e-7 * Math.max(...want.scales[of]));
    }
  });

  it("moves parameters as bitsandbytes does for 20 steps", async () => {
    const got = await trajectory(20);
    for (const want of golden.steps)
      for (const name of ["a", "b"] as const)
        expect(largestGap(got[want.step - 1]![name].p, floats(want[name].p))).toBeLessThan(2e-6);
  });
});
