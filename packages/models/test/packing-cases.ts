/** @file Texts that share a row against the same texts in rows of their own, on any runtime. */
import { declareBase } from "@graftml/peft";
import { crossEntropy, grad, IGNORE, reshape, type Runtime, scale, type Source, sum } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { loadModel } from "../src/index.ts";
import { inferenceScope } from "../src/logits.ts";
import { COMPILING } from "./golden-cases.ts";
import { difference, folderOf } from "./golden.ts";

const texts = [
  [5, 9, 3, 17, 8, 4],
  [11, 7],
  [4, 8, 30, 2, 6, 7, 12, 20],
];
const count = texts.reduce((n, ids) => n + ids.length - 1, 0);

/** Rows padded to the right with what `fill` says. */
const rows = (of: readonly (readonly number[])[], length: number, fill: number): number[] =>
  of.flatMap((row) => [...row, ...Array.from({ length: length - row.length }, () => fill)]);
const next = (ids: readonly number[]): number[] => [...ids.slice(1), IGNORE];

/** Loss and gradient of the token table are the same, packed and not. */
export function describePacking(runtimeOf: () => Runtime, names: readonly string[], tolerance: number): void {
  describe("texts that share a row", () => {
    it.each(names)(
      "give the loss and the gradients that they give in rows of their own (%s)",
      { timeout: COMPILING },
      async (name) => {
        const { model, base } = await loadModel(folderOf(name));
        const runtime = runtimeOf();
        const table = [...base.names()].find((key) => /embed_tokens|wte/.test(key))!;
        const run = async (batch: number, length: number, packed: boolean, inputs: Record<string, Source>) => {
          const store = runtime.store();
          declareBase(store, base);
          const program = await runtime.compile(store, (trace) => {
            const scope = inferenceScope(trace, { runtime, store, model }, []);
            const read = model.inputs(trace, { batch, length, packed });
            const logits = model.head(scope, model.forward(scope, read), read);
            const labels = trace.input("labels", [batch * length], "i32");
            const losses = crossEntropy(reshape(logits, [batch * length, model.info.vocabulary]), labels);
            const loss = scale(sum(losses), 1 / count);
            const [gradient] = grad(loss, [trace.param(table, base.describe(table)!.shape)]);
            return { loss, gradient: gradient! };
          });
          const result = await program.run(inputs);
          program.dispose();
          return result;
        };
        const alone = await run(3, 8, false, { ids: rows(texts, 8, 0), labels: rows(texts.map(next), 8, IGNORE) });
        // The first two share a row with two tokens of padding; numbers of texts begin anew in every row.
        const pairs = [texts.slice(0, 2), texts.slice(2)];
        const together = await run(2, 10, true, {
          ids: rows(
            pairs.map((p) => p.flat()),
            10,
            0,
          ),
          labels: rows(
            pairs.map((p) => p.flatMap(next)),
            10,
            IGNORE,
          ),
          mask: rows(
            pairs.map((p) => p.flatMap((ids, i) => ids.map(() => i + 1))),
            10,
            0,
          ),
          positions: rows(
            pairs.map((p) => p.flatMap((ids) => ids.map((_, i) => i))),
            10,
            0,
          ),
        });
        expect(Math.abs(together["loss"]![0]! / alone["loss"]![0]! - 1)).toBeLessThan(tolerance);
        expect(difference(together["gradient"]!, [...alone["gradient"]!])).toBeLessThan(tolerance);
      },
    );
  });
}
