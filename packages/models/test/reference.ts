/** @file The real models of the shared folder against torch, on any runtime. */
import { declareBase } from "@graftml/peft";
import { crossEntropy, run, type Runtime, type Values } from "@graftml/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LoadedModel, loadModel, logitsOf, openGenerator, type Setup } from "../src/index.ts";
import { difference } from "./golden.ts";
import { modelFolder, referenceOf } from "./shared.ts";

const models = ["stories260K", "TinyStories-656K", "babyllama-tok105", "babyllama-tok361", "gpt-nano-sort"];

/** Logits, loss and greedy text of every model equal torch's. Differences are relative to the largest logit. */
export function describeReference(runtime: () => Runtime): void {
  describe.each(models)("%s", (name) => {
    const reference = referenceOf(name);
    const ids = reference.input_ids;
    let loaded: LoadedModel;
    let setup: Setup;
    let logits: Values;
    beforeAll(async () => {
      loaded = await loadModel(modelFolder(name));
      const store = runtime().store();
      declareBase(store, loaded.base);
      setup = { runtime: runtime(), store, model: loaded.model };
      [logits = new Float32Array()] = await logitsOf(setup, [ids]);
    });
    afterAll(() => setup.store.delete(...loaded.base.names()));

    it("gives torch's logits", () => {
      const width = loaded.model.info.vocabulary;
      const last = reference.logits_last_position ?? reference.logits!.at(-1)!;
      const first = reference.logits_first_position_first_16 ?? reference.logits![0]!;
      const got = [...logits.slice(-width), ...logits.slice(0, first.length)];
      expect(difference(got, [...last, ...first])).toBeLessThan(1e-4);
      if (reference.logits !== undefined) expect(difference(logits, reference.logits.flat())).toBeLessThan(1e-4);
    });

    if (reference.loss_mean_next_token !== undefined)
      it("gives torch's mean loss", async () => {
        const [rows, width] = [ids.length - 1, loaded.model.info.vocabulary];
        const { loss } = await run((t) => ({ loss: crossEntropy(t.logits, t.labels) }), {
          logits: { shape: [rows, width], values: logits.slice(0, rows * width) },
          labels: { shape: [rows], values: ids.slice(1), dtype: "i32" },
        });
        expect([...loss!].reduce((a, b) => a + b, 0) / rows).toBeCloseTo(reference.loss_mean_next_token!, 4);
      });

    if (reference.greedy_text !== undefined)
      it("writes torch's greedy text", async () => {
        const { tokenizer, eos } = loaded;
        const prompt = tokenizer!.encode(reference.greedy_prompt!);
        const written = [...prompt];
        const generator = openGenerator(setup);
        const request = { prompts: [prompt], maxNewTokens: reference.greedy_ids!.length - prompt.length, stop: eos };
        for await (const { id } of generator.generate(request)) written.push(id);
        generator.dispose();
        expect(written).toEqual(reference.greedy_ids);
        expect(tokenizer!.decode(written)).toBe(reference.greedy_text);
      });
    else
      it("sorts letters, ids alone", async () => {
        const generator = openGenerator(setup);
        const written: number[] = [];
        for await (const { id } of generator.generate({ prompts: [ids.slice(0, 6)], maxNewTokens: 6 }))
          written.push(id);
        generator.dispose();
        expect(written).toEqual(ids.slice(0, 6).toSorted((a, b) => a - b));
      });
  });
}
