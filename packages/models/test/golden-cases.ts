/** @file The tiny models against transformers, on any runtime. */
import { declareBase } from "@graftml/peft";
import { grad, linearCrossEntropy, mean, reshape, type Runtime, slice } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { loadModel, logitsOf, openGenerator } from "../src/index.ts";
import { inferenceScope } from "../src/logits.ts";
import { difference, flat, folderOf, goldenOf } from "./golden.ts";

const open = async (name: string, runtime: Runtime) => {
  const { model, base } = await loadModel(folderOf(name));
  const store = runtime.store();
  declareBase(store, base);
  return { runtime, store, model, base };
};

/** How far from transformers a runtime may be, relative to the largest value. */
export interface Tolerance {
  readonly logits: number;
  readonly gradients: number;
}

/** Logits, loss, gradients and greedy continuation of every tiny model equal transformers'. */
export function describeGolden(runtimeOf: () => Runtime, names: readonly string[], tolerance: Tolerance): void {
  describe.each(names)("%s against transformers", (name) => {
    const golden = goldenOf(name);

    it("gives the same logits", async () => {
      const setup = await open(name, runtimeOf());
      const logits = await logitsOf(setup, golden.ids);
      expect(
        difference(
          logits.flatMap((x) => [...x]),
          flat(golden.logits),
        ),
      ).toBeLessThan(tolerance.logits);
    });

    it("gives the same loss and gradients", async () => {
      const { runtime, store, model, base } = await open(name, runtimeOf());
      const [batch, length] = [golden.ids.length, golden.ids[0]!.length];
      const wanted = Object.keys(golden.gradients);
      const program = await runtime.compile(store, (trace) => {
        const scope = inferenceScope(trace, { runtime, store, model }, []);
        const inputs = model.inputs(trace, { batch, length });
        const hidden = slice(model.forward(scope, inputs), 1, 0, length - 1);
        const labels = slice(inputs.ids, 1, 1, length - 1);
        const losses = linearCrossEntropy(
          reshape(hidden, [batch * (length - 1), model.info.hidden]),
          reshape(labels, [batch * (length - 1)]),
          { vocabulary: model.info.vocabulary, head: (h) => model.head(scope, h, inputs) },
        );
        const loss = mean(losses);
        const parameters = wanted.map((key) => trace.param(key, base.describe(key)!.shape));
        return { loss, ...Object.fromEntries(grad(loss, parameters).map((g, i) => [wanted[i]!, g])) };
      });
      const { loss, ...gradients } = await program.run({ ids: golden.ids.flat() });
      expect(loss![0]).toBeCloseTo(golden.loss, 5);
      for (const key of wanted) {
        const expected = flat(golden.gradients[key]!);
        // In the file a Conv1D weight is [in, out]; its gradient in memory is [out, in].
        const [rows, columns] = base.describe(key)!.shape;
        const inFile = /\.c_\w+\.weight$/.test(key)
          ? expected.map((_, i) => gradients[key]![(i % rows!) * columns! + Math.floor(i / rows!)]!)
          : gradients[key]!;
        expect(difference(inFile, expected), key).toBeLessThan(tolerance.gradients);
      }
    });

    it("writes the same continuation", async () => {
      const setup = await open(name, runtimeOf());
      const rows = golden.ids.map((ids) => [...ids]);
      for await (const { row, id } of openGenerator(setup).generate({ prompts: golden.ids, maxNewTokens: 6 }))
        rows[row]!.push(id);
      expect(rows).toEqual(golden.greedy);
    });
  });
}
