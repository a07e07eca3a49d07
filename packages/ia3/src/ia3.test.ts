import { describeMethod, tinyBert, tinyGpt2, tinyLlama } from "@graftml/conformance";
import { adapt, type JsonObject, type Model, type Site, sites } from "@graftml/peft";
import { sizeOf } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { config, scales, scalesInput } from "./config.ts";
import { ia3 } from "./index.ts";
import { interchange } from "./interchange.ts";

describeMethod(ia3, [{}, { target: ["attn.q", "attn.o", "mlp.up"], feedforward: ["mlp.up"] }], {
  with: [ia3({ target: ["attn.v", "mlp.down"], feedforward: ["mlp.down"] })],
  except: { seed: "factors start at one, whatever the seed" },
  readme: new URL("../README.md", import.meta.url),
});

const llama = tinyLlama();
/** The same model under the name of another architecture. */
const named = (type: string, model: Model = llama): Model => ({ ...model, info: { ...model.info, type } });
/** Linears of the first block that are scaled: "k_proj" on the way out, "> down_proj" on the way in. */
const scaled = (model: Model, given: Parameters<typeof ia3>[0] = {}): readonly string[] => {
  const c = config.parse(given);
  return sites(model).flatMap((s: Site) =>
    s.layer === 0 && scales(c, s, model.info)
      ? [`${scalesInput(c, s, model.info) ? "> " : ""}${s.path.split(".").at(-1)}`]
      : [],
  );
};

describe("ia3's targets", () => {
  it("are keys, values and what enters the feed-forward's last map, as in the paper", () => {
    expect(scaled(llama)).toEqual(["k_proj", "v_proj", "> down_proj"]);
  });

  it("are all of a fused projection, as PEFT has it", () => {
    expect(scaled(tinyGpt2())).toEqual(["c_attn", "> c_proj"]);
  });

  it("are queries where PEFT takes them for keys, and attention's output where its word means both", () => {
    expect(scaled(named("qwen2"))).toEqual(["q_proj", "v_proj", "> down_proj"]);
    expect(scaled(named("bert"))).toEqual(["k_proj", "v_proj", "> o_proj", "> down_proj"]);
    expect(scaled(named("mt5"))).toEqual(["k_proj", "v_proj", "up_proj"]);
  });

  it("count one factor for each feature", () => {
    const { owned } = adapt(llama, [ia3()]);
    expect(owned.map((o) => o.shape)).toEqual(
      [0, 1].flatMap(() => [
        [4, 1],
        [4, 1],
        [1, 12],
      ]),
    ); // two key heads of two
  });

  it("count as many factors in MiniLM as PEFT does", () => {
    const sizes = { vocabulary: 9, hidden: 384, inner: 1536, heads: 12, keyHeads: 12, layers: 6, positions: 8 };
    const { owned } = adapt(tinyBert({ sizes }), [ia3()], { modules: [] });
    expect(owned.reduce((sum, { shape }) => sum + sizeOf(shape), 0)).toBe(16_898 - 770); // without the classifier of two
  });

  it.each<[string, Parameters<typeof ia3>[0], string]>([
    ["a target", { target: ["k_porj"] }, 'ia3: no linear site matches "k_porj". Did you mean "k_proj"?'],
    [
      "one for the feed-forward",
      { target: ["attn.k"], feedforward: ["mlp.down"] },
      'ia3: feedforward "mlp.down" matches none',
    ],
    ["an exclusion", { exclude: ["attn.o"] }, 'ia3: exclude "attn.o" matches none'],
  ])("are refused when %s matches nothing", (_, given, message) => {
    expect(() => adapt(llama, [ia3(given)])).toThrow(message);
  });
});

describe("a PEFT configuration", () => {
  const context = { model: llama.info, sites: sites(llama) };
  const read = (json: JsonObject) => interchange.fromConfig({ peft_type: "IA3", ...json }, context);

  it("keeps its own lists, whatever is usual for the architecture", () => {
    expect(read({ target_modules: ["q_proj", "query_key_value"], feedforward_modules: ["q_proj"] })).toMatchObject({
      target: ["q_proj"],
      feedforward: ["q_proj"],
    });
  });

  it("leaves to the architecture what it does not say", () => {
    expect(config.parse(read({}))).toEqual(config.parse({}));
  });

  it("means by a word for the feed-forward every path that ends with it, as PEFT does", () => {
    expect(
      read({ target_modules: ["k_proj", "v_proj"], feedforward_modules: ["0.self_attn.k_proj", "v_pro", "o"] }),
    ).toMatchObject({
      feedforward: ["0.self_attn.k_proj"],
    });
    expect(read({ feedforward_modules: ["wn_proj"] })).toMatchObject({
      feedforward: [0, 1].map((i) => `model.layers.${i}.mlp.down_proj`),
    });
  });

  it("is refused for keys that would change what the tensors mean", () => {
    expect(() => read({ use_something: 3 })).toThrow('ia3 cannot do what "use_something": 3 asks for.');
  });
});
