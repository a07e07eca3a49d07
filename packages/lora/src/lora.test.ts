import {
  describeMethod,
  gradients,
  randomBase,
  started,
  tinyBert,
  tinyGpt2,
  tinyLlama,
  tinyT5,
} from "@graftml/conformance";
import { adapt, type Model, rngOf, sites } from "@graftml/peft";
import { hostRuntime, sizeOf, type Values } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { config, type LoraConfig, rankAt, scaleAt } from "./config.ts";
import { lora } from "./index.ts";

const companions = [lora({ rank: 2, alpha: 2, target: ["attn.v", "mlp.down"] })];

describeMethod(
  lora,
  [
    {},
    { rank: 1, alpha: 3, rslora: true, target: "all-linear" },
    { dropout: 0.3, init: "gaussian", target: ["attn.o", "mlp.up"], bias: "lora_only" },
    {
      target: ["attn.q", "mlp.up"],
      layers: [1],
      rank_pattern: { "1\\..*": 3 },
      alpha_pattern: { "(q_proj|c_attn|query|q)": 2 },
    },
  ],
  { with: companions, readme: new URL("../README.md", import.meta.url) },
);
describeMethod(lora, [{ rank: 2, dora: true, dropout: 0.2, target: "all-linear" }], {
  with: companions,
  models: [tinyGpt2(), tinyT5()],
  except: { slopes: "DoRA's norms are constants on the way back" },
});
describeMethod(lora, [{ lora_bias: true, target: ["mlp.up"], lr_ratio: 16 }], {
  with: companions,
  models: [tinyGpt2(), tinyBert()],
});
describeMethod(lora, [{ rank: 2, fused: "split" }], {
  models: [tinyGpt2()],
  with: companions,
  except: { unfolded: "the parts of a fused projection are saved as one" },
});
const converted = {
  seed: "it starts from the weights",
  unfolded: "where it started is saved with it, as ranks of their own",
};
describeMethod(lora, [{ rank: 2, alpha: 1, init: "pissa", target: "all-linear" }], {
  with: companions,
  models: [tinyLlama()],
  except: converted,
});
describeMethod(lora, [{ rank: 1, alpha: 1, init: "olora" }], {
  with: companions,
  models: [tinyBert()],
  except: converted,
});
describeMethod(lora, [{ embeddings: true, target: [] }], {
  with: companions,
  models: [tinyLlama({ factor: 3 }), tinyBert()],
});
describeMethod(lora, [{ embeddings: true, target: [] }], {
  with: companions,
  models: [tinyT5()],
  except: { merge: "the table serves both stacks and the head" },
});
describeMethod(lora, [{ rank: 2, alpha: 1, init: "pissa", fused: "split", embeddings: true }], {
  models: [tinyGpt2()],
  except: {
    merge: "the table is the head's weight too",
    unfolded: converted.unfolded,
  },
});
describeMethod(lora, [{ bias: "all" }], {
  with: companions,
  models: [tinyGpt2()],
  except: {
    mix: "rows of a batch share the biases of norms",
    stack: "the outer copy of a bias would take the place of the inner one",
  },
});

const model = tinyLlama();
const rig = (on: Model) => ({ model: on, base: randomBase(on), runtime: hostRuntime() });
const linears = (on: Model = model) => sites(on).filter((s) => s.kind === "linear");
const at = (path: string) => linears().find((s) => s.path === path)!;
const [q0, q1, down1] = [
  "model.layers.0.self_attn.q_proj",
  "model.layers.1.self_attn.q_proj",
  "model.layers.1.mlp.down_proj",
];
const configured = (given: Parameters<typeof lora>[0]): LoraConfig => config.parse(given);
/** Linears that a configuration adapts. */
const adapted = (given: Parameters<typeof lora>[0], on: Model = model) =>
  adapt(on, [lora(given)]).sites.flatMap(({ site, methods }) =>
    site.kind === "linear" && methods.length > 0 ? [site.path] : [],
  );

describe("lora's targets", () => {
  it("are queries and values unless told otherwise, in a fused projection as well", () => {
    expect(adapted({})).toEqual(linears().flatMap(({ path }) => (/[qv]_proj$/.test(path) ? [path] : [])));
    expect(adapted({}, tinyGpt2())).toEqual(["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"]);
  });

  it("can be narrowed by blocks and exclusions", () => {
    expect(
      adapted({ target: "all-linear", exclude: ["mlp.gate", "mlp.up", "mlp.down", "attn.k", "o_proj"], layers: [1] }),
    ).toEqual(["model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"]);
  });

  it.each<[string, Parameters<typeof lora>[0], string]>([
    ["a target", { target: ["q_porj"] }, 'lora: no linear site matches "q_porj". Did you mean "q_proj"?'],
    [
      "an exclusion",
      { exclude: ["attn.k"] },
      'lora: exclude "attn.k" matches none of the linear sites it targets: model.layers.0',
    ],
    ["a block", { layers: [0, 2] }, "lora: layers 2 matches none"],
    ["a pattern of ranks", { rank_pattern: { donw_proj: 2 } }, 'lora: rank_pattern "donw_proj" matches none'],
    ["a pattern of alphas", { alpha_pattern: { "^q_proj": 2 } }, 'lora: alpha_pattern "^q_proj" matches none'],
    ["everything", { exclude: ["attn.q", "attn.v"] }, "lora: all 4 linear sites that it targets are excluded."],
    ["a pattern that is none", { rank_pattern: { "(": 2 } }, "lora.rank_pattern"],
    ["a rank of zero", { rank: 0 }, "lora.rank: Too small: expected number to be >=1"],
    ["dropout of everything", { dropout: 1 }, "lora.dropout: Too big: expected number to be <1"],
  ])("are refused when %s cannot be", (_, given, message) => {
    expect(() => adapted(given)).toThrow(message);
  });
});

describe("lora's size", () => {
  it("is the paper's: 393,216 numbers of rank 4 on queries and values of GPT-2 medium", () => {
    const sizes = {
      vocabulary: 50257,
      hidden: 1024,
      inner: 4096,
      heads: 16,
      keyHeads: 16,
      layers: 24,
      positions: 1024,
    };
    const { owned } = adapt(tinyGpt2({ sizes }), [lora({ rank: 4, fused: "split" })]);
    expect(owned.reduce((sum, { shape }) => sum + sizeOf(shape), 0)).toBe(393_216);
  });
});

describe("lora's ranks and alphas", () => {
  it("take the first pattern that the end of the path matches, or all of it after a ^", () => {
    const ranks = { "^model\\.layers\\.0\\..*": 2, q_proj: 3, "self_attn.q_proj": 4 };
    const c = configured({ rank: 8, rank_pattern: ranks });
    expect([q0, q1, down1].map((path) => rankAt(c, at(path)))).toEqual([2, 3, 8]);
  });

  it("do not match in the middle of a name", () => {
    expect(rankAt(configured({ rank: 8, rank_pattern: { proj: 2, q: 2, "attn.q_proj": 2 } }), at(q0))).toBe(8);
  });

  it("scale by alpha / rank, or alpha / √rank in rsLoRA, of the place's own", () => {
    const given = { rank: 4, alpha: 6, rank_pattern: { q_proj: 9 }, alpha_pattern: { down_proj: 10 } };
    const scales = (rslora: boolean) => [q0, down1].map((path) => scaleAt(configured({ ...given, rslora }), at(path)));
    expect(scales(false)).toEqual([6 / 9, 10 / 4]);
    expect(scales(true)).toEqual([6 / 3, 10 / 2]);
  });
});

describe("lora's start", () => {
  const startOf = async (given: Parameters<typeof lora>[0], on: Model, name: string): Promise<Values> =>
    (await started(rig(on), adapt(on, [lora(given)]), 3)).state.get(name)!.values;
  const wide = tinyLlama({
    sizes: { vocabulary: 5, hidden: 64, inner: 64, heads: 2, keyHeads: 2, layers: 1, positions: 8 },
  });

  it("is uniform within ±1/√in for A, and zero for B", async () => {
    const A = await startOf({ rank: 32 }, wide, `${q0}.lora_A.weight`);
    const largest = Math.max(...A.map(Math.abs));
    expect(largest).toBeLessThan(1 / 8);
    expect(largest).toBeGreaterThan(0.99 / 8);
    expect(Math.hypot(...A) ** 2 / A.length).toBeCloseTo(1 / 64 / 3, 3); // a third of the bound squared
    expect((await startOf({}, wide, `${q0}.lora_B.weight`)).every((v) => v === 0)).toBe(true);
  });

  it("is normal with deviation 1/rank if gaussian", async () => {
    const A = await startOf({ rank: 32, init: "gaussian" }, wide, `${q0}.lora_A.weight`);
    expect((32 * Math.hypot(...A)) / Math.sqrt(A.length)).toBeCloseTo(1, 1);
    expect(Math.max(...A)).toBeGreaterThan(2.5 / 32);
  });
});

describe("lora's dropout", () => {
  it("acts on the update's input, and leaves the base's alone", async () => {
    const setup = rig(model);
    const lossOf = async (dropout: number, noise: boolean): Promise<number> => {
      const { adapter, state } = await started(setup, adapt(model, [lora({ dropout })]));
      const rng = rngOf(1, "noise");
      const values = (v: Values): Values => (noise ? v.map(() => rng.normal()) : v);
      const shaken = new Map(Array.from(state, ([name, s]) => [name, { ...s, values: values(s.values) }]));
      return (await gradients(setup, [{ adapter, state: shaken }])).loss;
    };
    expect(await lossOf(0.5, false)).toBe(await lossOf(0, false)); // B is zero: nothing is left to drop
    expect(await lossOf(0.5, true)).not.toBeCloseTo(await lossOf(0, true), 3);
  });
});
