import { describeMethod, tinyBert, tinyGpt2, tinyLlama, tinyT5 } from "@graftml/conformance";
import { adapt, type Model, openScope, predict } from "@graftml/peft";
import { grad, mean, Trace } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { autoRgn, autoSnr, blocks, full, top } from "./index.ts";

const readme = new URL("../README.md", import.meta.url);
const except = {
  seed: "a copy starts as the original, whatever the seed",
  interchange: "PEFT has no files for trained base weights",
  mix: "rows of a batch share the parameters of norms",
  stack: "the outer copy would take the place of the inner one",
};

describeMethod(full, [{}], { except });
describeMethod(top, [{ layers: 1 }, { layers: 1, head: true }], {
  except,
  readme,
});
describeMethod(blocks, [{ blocks: [1] }, { blocks: ["embeddings", "head"] }], { except, readme });
const auto = { ...except, mix: "rows of a batch share the token table" };
// Not on a BERT: the bias of its keys has no gradient but rounding, and so a rate of nothing.
const models = [tinyLlama(), tinyT5()];
describeMethod(autoRgn, [{}, { per: "layer", batches: 2 }], {
  except: { ...auto, accumulate: "rates are measured on micro-batches" },
  readme,
  models,
});
describeMethod(autoSnr, [{ threshold: 0 }], { except: auto, readme, models });

const owned = (model: Model, ...methods: Parameters<typeof adapt>[1]) =>
  adapt(model, methods, { id: "a" }).owned.map((o) => o.name.slice(2));

describe("full", () => {
  it("trains every parameter once, a tied one too", () => {
    const untied = owned(tinyLlama(), full());
    expect(untied).toContain("lm_head.weight");
    expect(new Set(untied).size).toBe(untied.length);
    expect(owned(tinyLlama({ tied: true }), full()).toSorted()).toEqual(
      untied.filter((n) => n !== "lm_head.weight").toSorted(),
    );
  });
});

describe("top", () => {
  it("trains the last blocks and nothing else", () => {
    const names = owned(tinyLlama(), top({ layers: 1 }));
    expect(names).toHaveLength(9); // two norms and seven linears
    expect(names.every((n) => n.startsWith("model.layers.1."))).toBe(true);
    expect(owned(tinyGpt2(), top({ layers: 2 })).every((n) => /^transformer\.h\.[01]\./.test(n))).toBe(true);
  });

  it("trains the final norm and the head when told to", () => {
    const more = owned(tinyLlama(), top({ layers: 1, head: true })).filter((n) => !n.startsWith("model.layers.1."));
    expect(more).toEqual(["model.norm.weight", "lm_head.weight"]);
    expect(owned(tinyGpt2(), top({ layers: 1, head: true })).filter((n) => !n.startsWith("transformer.h.1."))).toEqual([
      "transformer.wte.weight",
      "transformer.ln_f.weight",
      "transformer.ln_f.bias",
    ]);
  });

  it("computes nothing on the way back below the lowest trained block", () => {
    const model = tinyLlama();
    const backward = (...methods: Parameters<typeof adapt>[1]): readonly string[] => {
      const trace = new Trace();
      const { layers, owned } = adapt(model, methods);
      const scope = openScope(trace, layers, { train: true, model: model.info });
      const loss = mean(predict(model, scope, { batch: 1, length: 2 }));
      const forward = trace.nodes.length;
      grad(
        loss,
        owned.map(({ name, shape }) => trace.param(name, shape)),
      );
      return trace.nodes.slice(forward).map((node) => node.label);
    };
    const below = (labels: readonly string[]) => labels.filter((label) => label.startsWith("model.layers.0"));
    expect(below(backward(top({ layers: 1 })))).toEqual([]);
    expect(below(backward(top({ layers: 2 })))).not.toEqual([]);
  });

  it("refuses more blocks than there are", () => {
    expect(() => adapt(tinyLlama(), [top({ layers: 3 })])).toThrow("top.layers is 3; this model has 2 blocks.");
  });
});

describe("blocks", () => {
  it("trains the blocks, the embeddings or the head that are named", () => {
    expect(owned(tinyLlama(), blocks({ blocks: [0] })).every((n) => n.startsWith("model.layers.0."))).toBe(true);
    expect(owned(tinyLlama(), blocks({ blocks: ["embeddings"] }))).toEqual(["model.embed_tokens.weight"]);
    expect(owned(tinyLlama(), blocks({ blocks: ["head"] }))).toEqual(["model.norm.weight", "lm_head.weight"]);
  });

  it("trains a classification head once, whether named or not", () => {
    const heads = (names: readonly string[]) => names.filter((n) => n.startsWith("classifier."));
    expect(heads(owned(tinyBert(), blocks({ blocks: [0] })))).toEqual(["classifier.weight", "classifier.bias"]);
    expect(heads(owned(tinyBert(), blocks({ blocks: ["head"] })))).toEqual(["classifier.weight", "classifier.bias"]);
  });

  it("refuses a block that there is not", () => {
    expect(() => adapt(tinyLlama(), [blocks({ blocks: [2] })])).toThrow(
      "blocks.blocks names block 2; this model has 2 blocks.",
    );
  });
});
