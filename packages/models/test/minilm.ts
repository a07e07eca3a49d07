/** @file The pretrained encoder of the shared folder against torch, on any runtime. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { declareBase, type Layer, openScope, predict } from "@graftml/peft";
import type { Runtime, Tensor, Values } from "@graftml/tensor";
import { beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../src/index.ts";
import { padded } from "../src/logits.ts";
import { difference } from "./golden.ts";
import { modelFolder } from "./shared.ts";

/** reference.json of the encoder, as far as tests use it. */
interface Reference {
  readonly input_ids: readonly (readonly number[])[];
  readonly last_hidden_first_token: readonly (readonly number[])[];
  readonly pooler_output_first_16: readonly (readonly number[])[];
  readonly hidden_state_norms_sentence_0: readonly number[];
  readonly sentence_embedding_first_16: readonly (readonly number[])[];
  readonly pair_input_ids: readonly number[];
  readonly pair_token_type_ids: readonly number[];
  readonly pair_pooler_output_first_16: readonly number[];
}

const folder = modelFolder("all-MiniLM-L6-v2");
const reference = JSON.parse(readFileSync(join(folder, "reference.json"), "utf8")) as Reference;

/** What an encoder makes of texts: hidden states of every layer, and what its pooler gives. */
async function encode(runtime: Runtime, texts: readonly (readonly number[])[], types: readonly number[] = []) {
  const { model, base } = await loadModel(folder, { task: "sequence-classification" });
  const store = runtime.store();
  declareBase(store, base);
  const [batch, length] = [texts.length, Math.max(...texts.map((ids) => ids.length))];
  const seen: Tensor[] = [];
  const watch = <K extends Tensor>(x: K): K => (seen.push(x), x);
  const layer: Layer = {
    id: "watch",
    name: "watch",
    adaptation: {
      layer: { at: "*", wrap: (h, next) => watch(next(h)) },
      linear: { at: ["head"], wrap: (h, next) => next(watch(h)) },
    },
  };
  const program = await runtime.compile(store, (trace) => {
    seen.length = 0;
    const scope = openScope(trace, [layer], {
      train: false,
      model: model.info,
      dtypeOf: (name) => store.declaration(name).dtype,
    });
    predict(model, scope, { batch, length });
    return Object.fromEntries(seen.map((t, i) => [i, t]));
  });
  const mask = padded(
    texts.map((ids) => ids.map(() => 1)),
    length,
  );
  const outputs = await program.run({
    ids: padded(texts, length),
    mask: Float32Array.from(mask),
    types: padded([types], batch * length),
  });
  program.dispose();
  store.delete(...base.names());
  const values: Values[] = Array.from({ length: 8 }, (_, i) => outputs[i]!);
  return { states: values.slice(0, 7), pooled: values[7]!, mask, length };
}

const D = 384;
const rows = (values: Values, width: number): number[][] =>
  Array.from({ length: values.length / width }, (_, i) => Array.from(values.slice(i * width, (i + 1) * width)));

/** Hidden states, pooler outputs and sentence embeddings equal torch's, relative to the largest value. */
export function describeMiniLM(runtimeOf: () => Runtime): void {
  describe("all-MiniLM-L6-v2", () => {
    let found: Awaited<ReturnType<typeof encode>>;
    beforeAll(async () => {
      found = await encode(runtimeOf(), reference.input_ids);
    });

    it("has torch's hidden states, layer by layer", () => {
      const { states, length } = found;
      const real = reference.input_ids[0]!.length;
      const norms = states.map((h) => Math.hypot(...h.slice(0, real * D)));
      expect(difference(norms, reference.hidden_state_norms_sentence_0)).toBeLessThan(1e-4);
      const last = rows(states.at(-1)!, length * D).map((text) => text.slice(0, D));
      const wanted = reference.last_hidden_first_token;
      expect(difference(last.slice(0, wanted.length).flat(), wanted.flat())).toBeLessThan(1e-4);
    });

    it("has torch's pooler outputs", () => {
      const got = rows(found.pooled, D).flatMap((row) => row.slice(0, 16));
      expect(difference(got, reference.pooler_output_first_16.flat())).toBeLessThan(1e-4);
    });

    it("gives torch's sentence embeddings: the mean of real tokens, normed", () => {
      const { states, mask, length } = found;
      const embedded = rows(states.at(-1)!, length * D).flatMap((text, b) => {
        const sums = Array.from({ length: D }, (_, d) =>
          rows(Float64Array.from(text), D).reduce((sum, row, t) => sum + row[d]! * mask[b * length + t]!, 0),
        );
        const norm = Math.hypot(...sums);
        return sums.slice(0, 16).map((x) => x / norm);
      });
      expect(difference(embedded, reference.sentence_embedding_first_16.flat())).toBeLessThan(1e-4);
    });

    it("tells the texts of a pair apart", async () => {
      const { pooled } = await encode(runtimeOf(), [reference.pair_input_ids], reference.pair_token_type_ids);
      expect(difference(pooled.slice(0, 16), reference.pair_pooler_output_first_16)).toBeLessThan(1e-4);
    });
  });
}
