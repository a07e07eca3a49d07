/** @file Properties of configuring a method and attaching it, alone and with others. */
import {
  adapt,
  type Adapted,
  AdaptError,
  ConfigError,
  CONTRACT,
  declareAdapter,
  type Loaded,
  TargetError,
  z,
} from "@graftml/peft";
import { hostRuntime, sizeOf } from "@graftml/tensor";
import { expect } from "vitest";
import { distance, type Property, type Subject } from "./property.ts";
import { fit, gradients, logits, shaken, started } from "./rig.ts";
import { expectSlopes } from "./slopes.ts";

/** What can be configured, and what stands side by side. */
export const attaching: readonly Property[] = [
  {
    says: "speaks this contract, names its source and explains each of its keys",
    check: ({ method: { method } }) => {
      expect(method.contract).toBe(CONTRACT);
      expect(method.source).toMatch(/^https:\/\//);
      const { properties = {} } = z.toJSONSchema(method.config, { io: "input" });
      for (const [key, schema] of Object.entries(properties)) expect(schema, key).toHaveProperty("description");
    },
  },
  {
    says: "refuses a key it does not know, and names the nearest of those it does",
    check: ({ method }) => {
      const [key = "some"] = Object.keys(method.method.config.shape);
      const misspelt = (): unknown => method({ [`${key}x`]: 1 } as never);
      expect(misspelt).toThrow(ConfigError);
      expect(misspelt).toThrow(`${method.method.name}: unknown key "${key}x"`);
      if (key in method.method.config.shape) expect(misspelt).toThrow(`Did you mean "${key}"?`);
    },
  },
  {
    says: "takes its own configuration, with every default written out",
    check: ({ method, adapted }) => {
      expect(method(structuredClone(adapted.config) as never).config).toEqual(adapted.config);
    },
  },
  {
    says: "says truthfully what it trains and where",
    check: ({ rig, adapter }) => {
      const trainable = adapter.owned.filter((o) => o.trainable);
      const buckets = declareAdapter(hostRuntime().store(), adapter, rig.base, { seed: 0 });
      expect(buckets.flatMap((b) => b.members.map((m) => m.name))).toEqual(trainable.map((o) => o.name));
      expect(buckets.flatMap((b) => b.members.map((m) => sizeOf(m.shape)))).toEqual(
        trainable.map((o) => sizeOf(o.shape)),
      );
      const named = new Set(
        adapter.sites.filter((s) => s.methods.length > 0).map((s) => `${s.site.kind} ${s.site.path}`),
      );
      const own = adapter.owned.filter((o) => adapter.methods.some((m) => m.adaptation === o.layer.adaptation));
      for (const { site } of own) expect(named).toContain(`${site.kind} ${site.path}`);
      expect(adapter.owned.length - own.length > 0).toBe(adapter.modules.length > 0);
    },
  },
  {
    says: "is refused twice under one id",
    check: ({ rig, adapted, adapter }) => {
      expect(() => adapt(rig.model, [adapted], { below: [adapter] })).toThrow(AdaptError);
      expect(() => adapt(rig.model, [adapted, adapted])).toThrow(AdaptError);
    },
  },
  {
    says: "gives way to another of its kind and comes back the same",
    check: async ({ rig, adapter, adapted }) => {
      const first = shaken(await started(rig, adapter), 1);
      const second = shaken(await started(rig, adapt(rig.model, [adapted], { id: "second" })), 2);
      const before = await logits(rig, [first]);
      expect(await logits(rig, [second])).not.toEqual(before);
      expect(await logits(rig, [first])).toEqual(before);
    },
  },
  {
    says: "stays as it is, frozen, under another of its kind that is trained",
    check: async ({ rig, adapted, adapter }) => {
      const below = shaken(await started(rig, adapt(rig.model, [adapted], { id: "below", trainable: false })));
      const above = adapt(rig.model, [adapted], { id: "above", below: [below.adapter] });
      expect(above.owned).toHaveLength(adapter.owned.length);
      const { loaded } = await fit(rig, [below, { adapter: above }], { steps: 2 });
      for (const [name, { values }] of loaded[0]?.state ?? [])
        expect([...values], name).toEqual([...(below.state.get(name)?.values ?? [])]);
      expect(loaded[1]?.state).not.toEqual((await started(rig, above)).state);
    },
    unless: {
      declared: "stack",
      says: "cannot lie under another of its kind, and says so",
      check: ({ rig, adapted, adapter }) => {
        expect(() => adapt(rig.model, [adapted], { id: "above", below: [adapter] })).toThrow(AdaptError);
      },
    },
  },
];

/** For methods with a target. */
export const targeting: Property = {
  says: "refuses a target of which a part matches nothing, and names it",
  check: ({ rig, method, adapted }) => {
    // A method with a key "target" takes a list of words there; null leaves the choice to the method.
    const { target } = adapted.config as { readonly target: string | readonly string[] | null };
    for (const words of [["no_such_place"], [target ?? [], "no_such_place"].flat()]) {
      const attempt = (): unknown => adapt(rig.model, [method({ target: words } as never)]);
      expect(attempt).toThrow(TargetError);
      expect(attempt).toThrow('"no_such_place"');
    }
  },
};

/** Stacks of a subject and a companion, both ways round; the outer one changes what the inner one makes. */
async function* stacksWith({ rig, adapted }: Subject, companion: Adapted): AsyncGenerator<readonly Loaded[]> {
  for (const stack of [
    [adapted, companion],
    [companion, adapted],
  ]) {
    const inner = shaken(await started(rig, adapt(rig.model, stack.slice(0, 1), { id: "inner" })));
    const outer = shaken(await started(rig, adapt(rig.model, stack.slice(1), { id: "outer", below: [inner.adapter] })));
    expect(distance(await logits(rig, [inner]), await logits(rig, [inner, outer]))).toBeGreaterThan(1e-3);
    yield [inner, outer];
  }
}

/** With a companion, both trained. */
export const besides = (companion: Adapted): Property => ({
  says: `stands inside and outside of ${companion.name}, with the gradients that finite differences give`,
  check: async (subject) => {
    for await (const stack of stacksWith(subject, companion)) await expectSlopes(subject.rig, stack, subject.tolerance);
  },
  unless: {
    declared: "slopes",
    says: `stands inside and outside of ${companion.name}`,
    check: async (subject) => {
      for await (const stack of stacksWith(subject, companion))
        for (const [name, gradient] of (await gradients(subject.rig, stack)).of)
          expect(Math.hypot(...(gradient ?? [])), name).toBeGreaterThan(0);
    },
  },
});
