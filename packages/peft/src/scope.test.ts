import { add, fill, hostRuntime, mean, mul, scale, type Tensor, Trace } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { copy, gain, pair } from "../test/tiny-methods.ts";
import { tinyModel } from "../test/tiny-model.ts";
import { adapt, census } from "./adapt.ts";
import { zeros } from "./init.ts";
import type { Adapted } from "./method.ts";
import { defineMethod } from "./method.ts";
import { layersOf, openScope } from "./scope.ts";

/** A method of one wrap, made on the spot. */
const method = (name: string, adaptation: Adapted["adaptation"]): Adapted =>
  defineMethod({
    contract: 1,
    name,
    group: "addition",
    source: "none",
    config: z.object({}),
    adapt: () => adaptation,
  })();

describe("a scope", () => {
  const model = tinyModel();

  it("meets every site of a model once, with the names of Hugging Face", () => {
    const found = census(model).sites.map(({ kind, path }) => `${kind} ${path}`);
    expect(new Set(found).size).toBe(found.length);
    expect(found).toContain("linear model.layers.1.mlp.up_proj");
    expect(found).toContain("param model.layers.0.mlp.up_proj.bias");
    expect(found).toContain("embedding model.embed_tokens");
    expect(found).toContain("layer model.layers.0");
  });

  it("knows the block that a site belongs to, and none outside of blocks", () => {
    const layers = new Map(census(model).sites.map(({ path, layer }) => [path, layer]));
    expect(layers.get("model.layers.1.mlp.up_proj")).toBe(1);
    expect(layers.get("lm_head")).toBeNull();
  });

  it("goes through methods from the last to the first, and to the model innermost", () => {
    const met: string[] = [];
    const watch = (name: string): Adapted =>
      method(name, { linear: { at: ["lm_head"], wrap: (x, next) => (met.push(name), next(x)) } });
    census(model, adapt(model, [watch("inner"), watch("outer")]).layers);
    expect(met.slice(-2)).toEqual(["outer", "inner"]);
  });

  it("goes through methods from the first to the last where a sublayer ends, and then to the add", () => {
    const met: string[] = [];
    const watch = (name: string): Adapted =>
      method(name, { residual: { at: ["mlp"], wrap: (r, next) => (met.push(name), next(r)) } });
    const trace = new Trace();
    const scope = openScope(trace, layersOf("a", [watch("inner"), watch("outer")]), {
      train: false,
      model: model.info,
    });
    const h = fill(trace, [1, 1, 4], 0);
    scope.at("mlp").call("residual", { roles: ["mlp"] }, { skip: h, branch: h, norm: null }, ({ skip, branch }) => {
      met.push("add");
      return add(skip, branch);
    });
    expect(met).toEqual(["inner", "outer", "add"]);
  });

  it("gives a linear the parameters as inner methods left them", () => {
    const doubled = method("double", { param: { at: ["bias"], wrap: (_, next) => scale(next(), 2) } });
    let seen: readonly (number | null)[] = [];
    const peek = method("peek", {
      linear: {
        at: ["mlp.up"],
        wrap: (x, next, here) => {
          seen = [here.bias()?.node.inputs.length ?? null, here.weight().node.inputs.length];
          return next(x);
        },
      },
    });
    adapt(model, [doubled, peek]);
    expect(seen).toEqual([1, 0]); // an op's result, and a leaf
  });

  it("names owned parameters by adapter and site, whatever the order of methods", () => {
    const names = (methods: readonly Adapted[]) =>
      adapt(model, methods, { id: "a" })
        .owned.map((o) => o.name)
        .sort();
    const methods = [pair(), gain(), copy()];
    expect(names(methods)).toEqual(names(methods.toReversed()));
    expect(names(methods)).toContain("a/model.layers.0.mlp.up_proj.a.weight");
    expect(names(methods)).toContain("a/model.layers.0.mlp.up_proj.bias");
  });

  it("refuses two methods of one adapter that own the same name", () => {
    expect(() => adapt(model, [pair(), pair()])).toThrow(
      "pair and pair both own default/model.layers.0.mlp.up_proj.a.weight; give one of them an adapter of its own, with another id.",
    );
  });

  it("refuses a method that hides an inner one", () => {
    const replace = method("replace", {
      linear: { at: ["mlp.up"], wrap: (x, _, { site }) => add(x, x) && scale(x, site.out) },
    });
    expect(() => adapt(model, [pair(), replace])).toThrow(
      "replace replaces model.layers.0.mlp.up_proj and so hides pair; leave model.layers.0.mlp.up_proj out of one of them, or change their order.",
    );
  });

  it("leaves out what a method excludes", () => {
    const only = method("only", {
      linear: { at: "all-linear", exclude: ["mlp.up", "layers.1.mlp.down_proj"], wrap: (x, next) => next(x) },
    });
    const chosen = adapt(model, [only]).sites.filter((s) => s.methods.length > 0);
    expect(chosen.map((s) => s.site.path)).toEqual(["model.layers.0.mlp.down_proj"]);
  });
});

describe("what a wrap can do besides arithmetic", () => {
  const model = tinyModel();
  const found = (wrap: NonNullable<Adapted["adaptation"]["linear"]>["wrap"], train = true) =>
    census(model, adapt(model, [method("some", { linear: { at: ["mlp.up"], wrap } })]).layers, { train });

  it("adds terms to the loss, one for each place", () => {
    const { penalties } = found((x, next, { penalize }) => {
      penalize(mean(x));
      return next(x);
    });
    expect(penalties.map((p) => p.shape)).toEqual([[], []]);
  });

  it("has scalars of the host's, named by adapter and place, that follow the run", () => {
    const { scalars } = found((x, next, { scalar }) =>
      mul(
        next(x),
        scalar("heat", ({ step, steps }) => step / steps),
      ),
    );
    expect([...scalars.keys()]).toEqual([0, 1].map((i) => `default/model.layers.${i}.mlp.up_proj.heat`));
    expect([...scalars.values()].map((at) => at({ step: 3, steps: 4, perEpoch: 2 }))).toEqual([0.75, 0.75]);
  });

  it("has noise that is one place's own, and another at every step", async () => {
    const noises: Tensor[] = [];
    const noisy = method("some", {
      linear: {
        at: ["mlp.up"],
        wrap: (x, next, { uniform }) => {
          noises.push(uniform("noise", [4]));
          return next(x);
        },
      },
    });
    const { layers } = adapt(model, [noisy]);
    const runtime = hostRuntime();
    const program = await runtime.compile(runtime.store(), (trace) => {
      noises.length = 0;
      const scope = openScope(trace, layers, { train: true, model: model.info });
      model.forward(scope, model.inputs(trace, { batch: 1, length: 2 }));
      return Object.fromEntries(noises.map((noise, i) => [i, noise]));
    });
    const [first, again, later] = [
      await program.run({ clock: [1, 1] }),
      await program.run({ clock: [1, 1] }),
      await program.run({ clock: [1, 2] }),
    ];
    expect(first[0]).not.toEqual(first[1]);
    expect(again).toEqual(first);
    expect(later[0]).not.toEqual(first[0]);
  });

  it("shares a parameter between all places if told to", () => {
    const { owned } = found((x, next, { own, site }) => next(mul(x, own("all", [site.in], zeros, { shared: true }))));
    expect([...owned.keys()]).toEqual(["default/all"]);
  });

  it("owns one parameter under one name, however often it asks, and never of two shapes", () => {
    const { owned } = found((x, next, { own, site }) =>
      next(mul(mul(x, own("a", [site.in], zeros)), own("a", [site.in], zeros))),
    );
    expect(owned.size).toBe(2);
    expect(() =>
      found((x, next, { own, site }) => next(mul(mul(x, own("a", [site.in], zeros)), own("a", [1], zeros)))),
    ).toThrow("param default/model.layers.0.mlp.up_proj.a is declared as f32 [4] and as f32 [1].");
  });
});

describe("adapting", () => {
  const model = tinyModel();

  it("refuses ids that names could not carry, or that are taken", () => {
    expect(() => adapt(model, [], { id: "a/b" })).toThrow('"a/b" is no adapter id');
    expect(() => adapt(model, [], { id: "a", below: [adapt(model, [], { id: "a" })] })).toThrow(
      'two adapters of the stack have the id "a".',
    );
  });

  it("refuses a method of another contract", () => {
    const { method: described, ...rest } = pair();
    const foreign = { ...rest, method: { ...described, contract: 2 as never } };
    expect(() => adapt(model, [foreign])).toThrow("pair speaks contract 2; this version of @graftml/peft speaks 1.");
  });

  it("refuses a method that trains what it does not save", () => {
    const forgetful = method("forgetful", {
      param: { at: ["bias"], wrap: (_, __, { own, site }) => own("x", site.shape, zeros, { persist: false }) },
    });
    expect(() => adapt(model, [forgetful])).toThrow(
      "forgetful trains default/model.layers.0.mlp.up_proj.bias.x; what is trained must be saved, and be f32.",
    );
  });

  it("says which methods act at which site", () => {
    const { sites } = adapt(model, [pair(), gain({ target: ["mlp.up", "lm_head"] })]);
    const at = (path: string) => sites.find((s) => s.site.kind === "linear" && s.site.path === path)?.methods;
    expect(at("model.layers.0.mlp.up_proj")).toEqual(["pair", "gain"]);
    expect(at("lm_head")).toEqual(["gain"]);
    expect(at("model.layers.0.mlp.down_proj")).toEqual([]);
  });

  it("owns only what its own methods own, though others lie below", () => {
    const below = adapt(model, [pair()], { id: "language", trainable: false });
    const above = adapt(model, [pair()], { id: "task", below: [below] });
    expect(above.owned.every((o) => o.name.startsWith("task/"))).toBe(true);
    expect(above.owned).toHaveLength(below.owned.length);
  });
});
