/** @file The toy model with a head that judges: whole rows by their first token, or every token. */
import { adapt, type Base, declareAdapter, declareBase, type Model } from "@graftml/peft";
import { hostRuntime, reshape, slice } from "@graftml/tensor";
import type { Ready } from "./toy.ts";
import { lowRank, toy, toyBase } from "./toy.ts";

/** Values of a head [labels, D]. */
const headValues = (labels: number): Float32Array =>
  new Float32Array(labels * toy.info.hidden).map((_, i) => Math.cos(0.7 * i));

/** The toy with so many classes, or with one output, a score. */
export function judging(task: "sequence-classification" | "token-classification", labels: number): Model {
  const D = toy.info.hidden;
  return {
    ...toy,
    info: { ...toy.info, task, labels },
    head: (scope, hidden) => {
      const [B = 0] = hidden.shape;
      const read = task === "token-classification" ? hidden : reshape(slice(hidden, 1, 0, 1), [B, D]);
      return scope.at("classifier").linear(read, { roles: ["head"], in: D, out: labels });
    },
  };
}

/** A judging toy with an adapter in a store, ready to be trained. */
export function readyToJudge(...[task, labels]: Parameters<typeof judging>): Ready {
  const model = judging(task, labels);
  const base: Base = {
    names: () => [...[...toyBase.names()].filter((name) => name !== "head.weight"), "classifier.weight"],
    describe: (name) =>
      name === "classifier.weight" ? { shape: [labels, toy.info.hidden], dtype: "f32" } : toyBase.describe(name),
    read: async (name) => (name === "classifier.weight" ? headValues(labels) : toyBase.read(name)),
  };
  const runtime = hostRuntime();
  const store = runtime.store();
  const adapter = adapt(model, [lowRank({ rank: 8 })]);
  declareBase(store, base);
  const trainable = declareAdapter(store, adapter, base, { seed: 1 });
  return { runtime, store, model, adapters: [adapter], trainable };
}
