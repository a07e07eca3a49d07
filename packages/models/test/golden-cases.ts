/** @file The tiny models against transformers, on any runtime. */
import { type Base, declareBase, type Model, type ModelInfo } from "@graftml/peft";
import {
  crossEntropy,
  grad,
  IGNORE,
  mean,
  mul,
  type Program,
  reshape,
  type Runtime,
  scale,
  softplus,
  square,
  type Store,
  sub,
  sum,
  type Tensor,
  type Trace,
  type Values,
} from "@graftml/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel, openGenerator } from "../src/index.ts";
import { layoutOf, transposed } from "../src/layout.ts";
import { inferenceScope } from "../src/logits.ts";
import { difference, flat, folderOf, type Golden, goldenOf, type Nested, shapeOf } from "./golden.ts";

/** How far from transformers a runtime may be, relative to the largest value. */
export interface Tolerance {
  readonly logits: number;
  readonly gradients: number;
  readonly steps: number;
}

/** What a software adapter may take to compile a model's backward pass, in ms: some of it at the first run. */
export const COMPILING = 240_000;

/** Mean loss over all labels: squared error for a model of one output, classes each by itself, else cross-entropy. */
function lossOf(trace: Trace, logits: Tensor, { labels }: Golden, { labels: outputs, config }: ModelInfo): Tensor {
  const wanted = flat(labels);
  if (outputs === 1) return mean(square(sub(reshape(logits, [-1]), trace.input("labels", [wanted.length]))));
  if (config["problem_type"] === "multi_label_classification") {
    const has = trace.input("labels", logits.shape);
    return mean(sub(softplus(logits), mul(has, logits)));
  }
  const losses = crossEntropy(
    reshape(logits, [wanted.length, logits.shape.at(-1)!]),
    trace.input("labels", [wanted.length], "i32"),
  );
  return scale(sum(losses), 1 / wanted.filter((label) => label !== IGNORE).length);
}

/** Logits, loss and the gradient of every parameter. */
const compile = (runtime: Runtime, store: Store, model: Model, base: Base, golden: Golden): Promise<Program> =>
  runtime.compile(store, (trace) => {
    const scope = inferenceScope(trace, { runtime, store, model }, []);
    const [batch = 0, length = 0] = shapeOf(golden.inputs["ids"] ?? golden.inputs["pixels"]!);
    const target = shapeOf(golden.inputs["decoder_ids"] ?? [[]])[1];
    const read = model.inputs(trace, { batch, length, target });
    const logits = model.head(scope, model.forward(scope, read), read);
    const loss = lossOf(trace, logits, golden, model.info);
    const names = [...base.names()];
    const gradients = grad(
      loss,
      names.map((name) => trace.param(name, base.describe(name)!.shape, base.describe(name)!.dtype)),
    );
    return { logits, loss, ...Object.fromEntries(gradients.map((g, i) => [names[i]!, g])) };
  });

/** One step of AdamW without decay on the host, t counted from 1. */
function update(values: Float64Array, gradient: Values, moments: [Float64Array, Float64Array], lr: number, t: number) {
  const [m, v] = moments;
  values.forEach((_, i) => {
    const g = gradient[i]!;
    m[i] = 0.9 * m[i]! + 0.1 * g;
    v[i] = 0.999 * v[i]! + 0.001 * g * g;
    values[i]! -= (lr * (m[i] / (1 - 0.9 ** t))) / (Math.sqrt(v[i] / (1 - 0.999 ** t)) + 1e-8);
  });
}

/** Logits, loss, gradients, steps of training and greedy continuations of every tiny model equal transformers'. */
export function describeGolden(runtimeOf: () => Runtime, names: readonly string[], tolerance: Tolerance): void {
  describe.each(names)("%s against transformers", (name) => {
    const golden = goldenOf(name);
    const inputs = Object.fromEntries(Object.entries({ ...golden.inputs, labels: golden.labels }).map(flattened));
    let opened: { readonly model: Model; readonly base: Base; readonly store: Store; readonly program: Program };
    beforeAll(async () => {
      const { model, base } = await loadModel(folderOf(name), { task: golden.task });
      const store = runtimeOf().store();
      declareBase(store, base);
      opened = { model, base, store, program: await compile(runtimeOf(), store, model, base, golden) };
    }, COMPILING);
    afterAll(() => opened.program.dispose());

    it("gives the same logits", { timeout: COMPILING }, async () => {
      const { logits } = await opened.program.run(inputs);
      expect(difference(logits!, flat(golden.logits))).toBeLessThan(tolerance.logits);
    });

    it("gives the same loss and gradients", async () => {
      const { loss, ...gradients } = await opened.program.run(inputs);
      expect(loss![0]).toBeCloseTo(golden.loss, 5);
      const layout = layoutOf(opened.model);
      for (const [key, expected] of Object.entries(golden.gradients)) {
        const stored = layout.get(key)!;
        const got = stored.transposed ? transposed(gradients[key]!, stored.shape) : gradients[key]!;
        expect(difference(got, flat(expected)), key).toBeLessThan(tolerance.gradients);
      }
    });

    if (golden.greedy !== undefined)
      it("writes the same continuation", async () => {
        const { model, store } = opened;
        const generator = openGenerator({ runtime: runtimeOf(), store, model });
        const rows: number[][] = golden.greedy!.map(() => []);
        const request = { prompts: golden.prompts!, maxNewTokens: golden.greedy![0]!.length };
        for await (const { row, id } of generator.generate(request)) rows[row]!.push(id);
        generator.dispose();
        expect(rows).toEqual(golden.greedy);
      });

    if (golden.steps !== undefined)
      it("has the same loss and gradient norm at every step of full fine-tuning", async () => {
        const { base, store, program } = opened;
        const { lr, loss: losses, grad_norm: norms } = golden.steps!;
        const parameters = await Promise.all(
          [...base.names()].map(async (key) => {
            const values = Float64Array.from(await store.read(key));
            return { key, values, moments: [values.map(() => 0), values.map(() => 0)] as [Float64Array, Float64Array] };
          }),
        );
        for (let step = 0; step < losses.length; step++) {
          const { loss, ...gradients } = await program.run(inputs);
          const norm = Math.hypot(...parameters.map(({ key }) => Math.hypot(...gradients[key]!)));
          expect(Math.abs(loss![0]! / losses[step]! - 1), `loss at step ${step}`).toBeLessThan(tolerance.steps);
          expect(Math.abs(norm / norms[step]! - 1), `gradient norm at step ${step}`).toBeLessThan(tolerance.steps);
          for (const { key, values, moments } of parameters) {
            update(values, gradients[key]!, moments, lr, step + 1);
            await store.write(key, values);
          }
        }
      });
  });
}

const flattened = ([key, x]: readonly [string, Nested]): readonly [string, number[]] => [key, flat(x)];
