/** @file What the battery is made of: properties, and what a method's author may declare not to hold. */
import type { Adapted, Adapter, AnyMethod } from "@graftml/peft";
import { expect } from "vitest";
import type { Rig } from "./rig.ts";

/**
 * What need not hold of every method. Whoever declares one gives the reason; the battery prints it, and checks that the
 * property indeed does not hold.
 */
export type Exception =
  /** A fresh adapter changes nothing. */
  | "identity"
  /** Its start depends on the seed. */
  | "seed"
  /** Its gradients are all of the loss's: it holds nothing constant on the way back. */
  | "slopes"
  /** It can be folded into weights. */
  | "merge"
  /** Hugging Face PEFT has it. */
  | "interchange"
  /** Its files hold what it trains, value by value. */
  | "unfolded"
  /** Rows of a batch may have adapters of their own: it changes no parameter outside of linears. */
  | "mix"
  /** Several micro-batches are one large one: nothing depends on where they end. */
  | "accumulate"
  /** One can lie under another of its kind. */
  | "stack";

/** A configured method on a model, under test. */
export interface Subject {
  readonly method: AnyMethod;
  readonly adapted: Adapted;
  /** It alone, under the id "default". */
  readonly adapter: Adapter;
  readonly companions: readonly Adapted[];
  /** Model and weights; the runtime is there once tests run. */
  readonly rig: Rig;
  readonly tolerance: Tolerance;
  /** Learning rate at which it learns in a few steps. */
  readonly lr: number;
}

/** How far two ways to compute the same may lie apart. */
export interface Tolerance {
  /** Of logits and losses, relative to the largest. */
  readonly logits: number;
  /** Of a gradient along a direction, relative to the gradient's length. */
  readonly gradients: number;
}

/** A sentence about a method, and how to find out whether it is true. */
export interface Property {
  readonly says: string;
  readonly check: (subject: Subject) => Promise<void> | void;
  /** What is said and checked instead where the author declares an exception. */
  readonly unless?: { readonly declared: Exception; readonly says: string; readonly check: Property["check"] };
}

/** Largest difference of two lists of values, relative to the largest value. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let [largest, apart] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    largest = Math.max(largest, Math.abs(a[i] ?? NaN));
    apart = Math.max(apart, Math.abs((a[i] ?? NaN) - (b[i] ?? NaN)));
  }
  return apart / (largest || 1);
}
