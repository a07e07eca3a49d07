import { adapt, defineMethod, type LinearAttachment, normal, ones, z, zeros } from "@graftml/peft";
import { add, apply, elementwise, hostRuntime, linear, matmul, scale, type Tensor } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { attaching } from "./attaching.ts";
import { randomBase } from "./base.ts";
import { keeping } from "./keeping.ts";
import { mergeable, merging } from "./merging.ts";
import { tinyLlama } from "./models.ts";
import type { Property, Subject } from "./property.ts";
import { starting } from "./starting.ts";
import { accumulating, training } from "./training.ts";

const wrong = elementwise({ name: "wrong", f: ([x]) => x! ** 2, wgsl: ([x]) => `(${x} * ${x})`, vjp: (g) => g });

const sound: LinearAttachment = {
  at: ["attn.q"],
  wrap: (x, next, { own, site }) =>
    add(next(x), linear(linear(x, own("a", [2, site.in], normal(1))), own("b", [site.out, 2], zeros))),
  merge: ({ weight, bias }, { own, site }) => ({
    weight: add(weight, matmul(own("b", [site.out, 2], zeros), own("a", [2, site.in], normal(1)))),
    bias,
  }),
};

/** A method that would be sound but for what is replaced. */
function subjectOf(
  faults: Partial<LinearAttachment>,
  { source = "https://arxiv.org", explained = true } = {},
): Subject {
  const method = defineMethod({
    contract: 1,
    name: "broken",
    group: "addition",
    source,
    config: z.object({ key: explained ? z.int().default(1).describe("A key.") : z.int().default(1) }),
    adapt: () => ({ linear: { ...sound, ...faults } }),
  });
  const model = tinyLlama();
  const rig = { model, base: randomBase(model), runtime: hostRuntime() };
  const tolerance = { logits: 1e-5, gradients: 1e-6 };
  return { method, adapted: method(), adapter: adapt(model, [method()]), companions: [], rig, tolerance, lr: 0.03 };
}

const all = [...attaching, ...starting, ...training, accumulating, ...keeping, mergeable, ...merging];
const property = (says: string): Property => {
  const found = all.find((p) => p.says.startsWith(says));
  if (found === undefined) throw new Error(`no property begins with "${says}".`);
  return found;
};
const fails = async (says: string, subject: Subject): Promise<boolean> => {
  try {
    await property(says).check(subject);
    return false;
  } catch {
    return true;
  }
};

describe("the battery", () => {
  const checked = all.filter((p) => !/snapshot|names and shapes|files of Hugging Face/.test(p.says));

  it.each(checked.map((p) => p.says))("passes a sound method: %s", async (says) => {
    await property(says).check(subjectOf({}));
  });

  const alsoOwning =
    (use: (y: Tensor, c: Tensor) => Tensor): LinearAttachment["wrap"] =>
    (x, next, here) =>
      use(sound.wrap(x, next, here), here.own("c", [here.site.out], ones));
  const merge: LinearAttachment["merge"] = (weights, here) => {
    const { weight, bias } = sound.merge!(weights, here);
    return { weight: scale(add(weight, weights.weight), 0.5), bias };
  };

  it.each<[string, string, Subject]>([
    ["changes the base before it is trained", "starts as the base", subjectOf({ wrap: alsoOwning(add) })],
    ["changes nothing ever", "changes what the model says", subjectOf({ wrap: (x, next) => next(x) })],
    [
      "draws noise outside of training",
      "says the same twice",
      subjectOf({ wrap: (x, next, here) => add(next(x), here.uniform("noise", [here.site.out])) }),
    ],
    [
      "owns what the loss does not depend on",
      "has a gradient for all that it trains",
      subjectOf({ wrap: alsoOwning((y) => y) }),
    ],
    [
      "brings an op whose gradient is wrong",
      "has a gradient for all that it trains",
      subjectOf({ wrap: alsoOwning((y, c) => add(y, apply(wrong, [c], {}))) }),
    ],
    [
      "trains what cannot change",
      "changes all that it trains",
      subjectOf({ wrap: alsoOwning((y, c) => add(y, scale(c, 0))) }),
    ],
    ["merges at half its strength", "says the same merged as attached", subjectOf({ merge })],
    ["names no source", "speaks this contract", subjectOf({}, { source: "a paper" })],
    ["does not explain a key", "speaks this contract", subjectOf({}, { explained: false })],
  ])("fails a method that %s", async (_, says, subject) => {
    expect(await fails(says, subject)).toBe(true);
  });
});
