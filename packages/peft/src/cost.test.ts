import { concat, fill } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { copy, gain, halve, pair } from "../test/tiny-methods.ts";
import { baseOf, tinyClassifier, tinyModel, tinyShapes } from "../test/tiny-model.ts";
import { adapt } from "./adapt.ts";
import { costOf } from "./cost.ts";
import { type Adapted, defineMethod } from "./method.ts";

const model = tinyModel();
const base = baseOf(tinyShapes());
const cost = (...methods: readonly Adapted[]) => costOf(adapt(model, methods), model, base);

describe("what an adapter costs", () => {
  it("counts what is trained and what the base does not have", () => {
    expect(cost(pair())).toMatchObject({ trained: 2 * (2 * 4 + 6 * 2), added: 2 * (2 * 4 + 6 * 2) });
    expect(cost(copy())).toMatchObject({ trained: 2 * 6, added: 0 });
  });

  it("says whether it can be merged, and why not", () => {
    expect(cost(pair()).unmergeable).toBeNull();
    expect(cost(halve()).unmergeable).toContain("halve cannot be merged: it acts on the layer at model.layers.0.");
  });

  it("counts the products that it adds to the longest way through the model", () => {
    expect(cost(gain()).depth).toBe(0);
    expect(cost(pair()).depth).toBe(2); // two blocks, each with two products beside one
  });

  it("counts a head that is trained beside the methods as a copy", () => {
    const classifier = tinyClassifier();
    const head = [
      ["classifier.weight", [3, 4]],
      ["classifier.bias", [3]],
    ] as const;
    const adapter = adapt(classifier, [gain()]);
    const { trained, added } = costOf(adapter, classifier, baseOf(new Map([...tinyShapes(), ...head])));
    expect(trained - added).toBe(15);
  });

  it("takes no context where nothing is put before the tokens", () => {
    const rows = defineMethod({
      contract: 1,
      name: "rows",
      group: "addition",
      source: "none",
      config: z.object({}),
      adapt: () => ({
        embedding: { at: "*", wrap: (ids, next) => concat([fill(ids.node.trace, [1, 3, 4], 1), next(ids)], 1) },
      }),
    });
    expect(cost(pair()).context).toBe(0);
    expect(cost(rows()).context).toBe(0); // this model has no attention to look at them
  });
});
