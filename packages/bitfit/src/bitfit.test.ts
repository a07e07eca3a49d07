import { describeMethod, tinyBert, tinyGpt2, tinyLlama, tinyT5 } from "@graftml/conformance";
import { adapt, type Model } from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { bitfit } from "./index.ts";

const seed = "a bias starts as the original or at zero, whatever the seed";
const interchange = "PEFT has no files for trained biases";

const stack = "the outer copy would take the place of the inner one";

describeMethod(bitfit, [{}], {
  models: [tinyGpt2(), tinyBert()],
  except: { seed, interchange, stack, mix: "biases of norms are shared by the rows of a batch" },
  readme: new URL("../README.md", import.meta.url),
});
describeMethod(bitfit, [{ biases: ["attn.q", "mlp.up"] }], {
  models: [tinyGpt2(), tinyBert()],
  except: { seed, interchange, stack },
});
describeMethod(bitfit, [{}, { biases: ["attn.q", "mlp.up"] }], {
  models: [tinyLlama(), tinyT5()],
  except: { seed, interchange, merge: "files of a model without biases have no place for them" },
});

type Given = Parameters<typeof bitfit>[0];
const owned = (given: Given, model: Model) => adapt(model, [bitfit(given)], { id: "a", modules: [] }).owned;
const counted = (given: Given, model: Model): number =>
  owned(given, model).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
const bert = (layers: number, hidden: number): Model =>
  tinyBert({ sizes: { vocabulary: 30522, hidden, inner: 4 * hidden, heads: 4, keyHeads: 4, layers, positions: 512 } });

describe("bitfit", () => {
  it.each<[string, Model, number, number]>([
    ["BERT-base", bert(12, 768), 102_912, 46_080],
    ["BERT-large", bert(24, 1024), 272_384, 122_880],
    ["MiniLM", bert(6, 384), 26_112, 11_520],
  ])("trains as many numbers of %s as the lectures say", (_, model, all, half) => {
    expect(counted({}, model)).toBe(all);
    expect(counted({ biases: ["attn.q", "mlp.up"] }, model)).toBe(half);
  });

  it("trains the biases of norms too, and those of one module by its name", () => {
    const names = (biases: string[]) => owned({ biases }, tinyBert()).map((o) => o.name.slice("a/bert.".length));
    expect(names(["norm"])).toEqual([
      "embeddings.LayerNorm.bias",
      ...[0, 1].flatMap((i) => [
        `encoder.layer.${i}.attention.output.LayerNorm.bias`,
        `encoder.layer.${i}.output.LayerNorm.bias`,
      ]),
    ]);
    expect(names(["1.attention.self.query"])).toEqual(["encoder.layer.1.attention.self.query.bias"]);
  });

  it("adds biases to linears that have none, but not to the head", () => {
    expect(owned({}, tinyLlama()).map((o) => o.name)).toEqual(
      [0, 1].flatMap((i) =>
        ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down"].map(
          (linear) => `a/model.layers.${i}.${linear}_proj.bias`,
        ),
      ),
    );
    expect(owned({}, tinyGpt2()).filter((o) => o.site.kind === "linear")).toEqual([]);
  });

  it.each<[string, Given, Model, string]>([
    ["a word that names no bias", { biases: ["attn.q", "atn.k"] }, tinyBert(), 'bitfit: biases "atn.k" matches none'],
    ["a model without biases, if none may be added", { add: false }, tinyLlama(), "bitfit: this model has nothing"],
    ["no words", { biases: [] }, tinyBert(), "bitfit.biases"],
  ])("refuses %s", (_, given, model, message) => {
    expect(() => owned(given, model)).toThrow(message);
  });
});
