import { describeMethod, started, randomBase, tinyBert, tinyGpt2, tinyLlama, tinyT5 } from "@graftml/conformance";
import { adapt, type Adapted, type Model } from "@graftml/peft";
import { hostRuntime, sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { prefix, prompt } from "./index.ts";

const except = {
  identity: "even a row of zeros takes its share of the softmax",
  merge: "rows before a text are no weights",
};
const lr = 0.2;
const readme = new URL("../README.md", import.meta.url);
const models = [tinyLlama(), tinyGpt2(), tinyBert()];

describeMethod(prefix, [{ tokens: 3 }], { models, lr, except, readme });
describeMethod(prefix, [{ tokens: 2, reparameterize: 5 }], {
  models,
  lr,
  except: { ...except, unfolded: "the MLP is folded away: what is read again is the plain prefix" },
});
describeMethod(
  prefix,
  [{ tokens: 3 }, { tokens: 2, reparameterize: 5, init: "zero", stacks: ["encoder", "decoder", "cross"] }],
  {
    models: [tinyT5()],
    lr,
    except: { ...except, interchange: "PEFT's blocks of an encoder-decoder share prefixes" },
  },
);

/** Numbers that a prefix owns, by the part of the model. */
const owned = (...config: Parameters<typeof prefix>): readonly string[] =>
  adapt(tinyT5(), [prefix(...config)], { id: "a" }).owned.map(
    ({ name, shape }) => `${name.slice(2)} ${shape.join("×")}`,
  );

describe("prefix", () => {
  it("has keys and values of its own for each stack that is named", () => {
    expect(owned({ tokens: 3, stacks: ["encoder", "cross"] })).toEqual([
      "encoder.block.0.layer.0.SelfAttention.prefix_key 3×8",
      "encoder.block.0.layer.0.SelfAttention.prefix_value 3×8",
      "encoder.block.1.layer.0.SelfAttention.prefix_key 3×8",
      "encoder.block.1.layer.0.SelfAttention.prefix_value 3×8",
      "decoder.block.0.layer.1.EncDecAttention.prefix_key 3×8",
      "decoder.block.0.layer.1.EncDecAttention.prefix_value 3×8",
      "decoder.block.1.layer.1.EncDecAttention.prefix_key 3×8",
      "decoder.block.1.layer.1.EncDecAttention.prefix_value 3×8",
    ]);
  });

  it("has an MLP for each stack, whose last layer is one for each attention", () => {
    const names = owned({ tokens: 3, reparameterize: 5, stacks: ["encoder", "decoder"] });
    expect(names.filter((name) => name.includes("transform.0.weight"))).toEqual([
      "prefix.encoder.transform.0.weight 5×8",
      "prefix.decoder.transform.0.weight 5×8",
    ]);
    expect(names.filter((name) => name.includes("transform.2.weight"))).toHaveLength(4);
  });

  it("is as wide as grouped keys are", () => {
    const { owned } = adapt(tinyLlama(), [prefix({ tokens: 3 })]); // two of four heads, of width 2
    expect(owned.map((o) => o.shape)).toEqual([
      [3, 4],
      [3, 4],
      [3, 4],
      [3, 4],
    ]);
  });

  it("counts as the papers count it: 245,760 numbers for five rows on GPT-2 medium, 20,480 for a prompt of five on T5 XXL", () => {
    const count = (model: Model, method: Adapted): number =>
      adapt(model, [method]).owned.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const common = { vocabulary: 50257, positions: 1024, keyHeads: 16, heads: 16 };
    const medium = tinyGpt2({ sizes: { ...common, hidden: 1024, inner: 4096, layers: 24 } });
    expect(count(medium, prefix({ tokens: 5 }))).toBe(245_760);
    expect(count(medium, prefix({ tokens: 10 }))).toBe(491_520);
    const xxl = tinyT5({ sizes: { ...common, heads: 64, hidden: 4096, inner: 10240, layers: 24 } });
    expect(count(xxl, prompt({ tokens: 5 }))).toBe(20_480);
  });

  it("refuses a stack that the model does not have", () => {
    expect(() => adapt(tinyLlama(), [prefix({ tokens: 2, stacks: ["cross"] })])).toThrow("prefix");
    expect(() => adapt(tinyLlama(), [prefix({ tokens: 2, stacks: ["decoder", "encoder"] })])).toThrow(
      'stacks "encoder"',
    );
  });

  it("refuses a text for which it leaves too few positions, with both numbers", () => {
    const refused = (method: "prefix" | "prompt"): string =>
      `${method}: 9 of the model's 16 positions go to its rows, which leaves 7; the text takes 8.`;
    expect(() => adapt(tinyLlama(), [prefix({ tokens: 9 })])).toThrow(refused("prefix"));
    expect(() => adapt(tinyGpt2(), [prompt({ tokens: 9 })])).toThrow(refused("prompt"));
  });

  it("may start from zeros, through the MLP as well", async () => {
    const model = tinyLlama();
    const rig = { model, base: randomBase(model), runtime: hostRuntime() };
    for (const reparameterize of [null, 5]) {
      const { state } = await started(rig, adapt(model, [prefix({ init: "zero", reparameterize, tokens: 2 })]));
      const last = [...state].filter(([name]) => /prefix_(?:key|value)$|transform\.2\./.test(name));
      expect(last.length).toBeGreaterThan(0);
      for (const [, { values }] of last) expect(values.every((v: number) => v === 0)).toBe(true);
    }
  });
});
