/** @file The battery: one call is a full test suite of a method. */

import { readFileSync } from "node:fs";
import {
  adapt,
  type Adapted,
  type Adapter,
  type AnyMethod,
  type Configurable,
  merge,
  type Model,
  NotMergeable,
} from "@graftml/peft";
import { hostRuntime, type Runtime } from "@graftml/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attaching, besides, targeting } from "./attaching.ts";
import { randomBase } from "./base.ts";
import { configTable } from "./config-table.ts";
import { keeping } from "./keeping.ts";
import { mergeable, merging, mergingWith } from "./merging.ts";
import { mixing, mixingWith } from "./mixing.ts";
import { tinyGpt2, tinyLlama } from "./models.ts";
import type { Exception, Property, Subject, Tolerance } from "./property.ts";
import { drawsNoise } from "./rig.ts";
import { starting } from "./starting.ts";
import { tinyBert } from "./tiny-bert.ts";
import { tinyT5 } from "./tiny-t5.ts";
import { accumulating, noisy, training } from "./training.ts";

/** What a suite is told besides the method and its configurations. */
export interface DescribeOptions {
  /** Other configured methods, to stand beside this one. */
  readonly with?: readonly Adapted[];
  /** What to adapt; a Llama, a GPT-2, a BERT that judges texts and a T5 if absent. */
  readonly models?: readonly Model[];
  /** What does not hold of it, and why: a reason that is printed. */
  readonly except?: Readonly<Partial<Record<Exception, string>>>;
  /** Learning rate at which it learns in a few steps; default 0.03. What starts far from anything learnt wants more. */
  readonly lr?: number;
  /** The method's README, which is to show the table of its keys that `configTable` makes. */
  readonly readme?: URL;
  /** What to run on; the f64 interpreter if absent. It is opened once and disposed of at the end. */
  readonly runtime?: () => Promise<Runtime>;
}

/**
 * Describes a method to vitest: every property of the battery, for each configuration, on decoders, an encoder and an encoder-decoder of about
 * a thousand weights. Nothing is skipped in silence: what does not apply is a test that says so.
 *
 * @param configs as a user would write them; name places by their roles, so that both models have them.
 * @example
 * describeMethod(lora, [{}, { rank: 1 }, { target: "all-linear" }], { with: [full()] });
 */
export function describeMethod<Input>(
  method: Configurable<never, Input>,
  configs: readonly Input[],
  {
    with: companions = [],
    models = [tinyLlama(), tinyGpt2(), tinyBert(), tinyT5()],
    except = {},
    lr = 0.03,
    readme,
    runtime: open,
  }: DescribeOptions = {},
): void {
  let runtime = hostRuntime();
  const tolerance: Tolerance = open ? { logits: 1e-4, gradients: 1e-3 } : { logits: 1e-5, gradients: 1e-6 };
  describe(method.method.name, () => {
    if (open) {
      beforeAll(async () => {
        runtime = await open();
      });
      afterAll(() => runtime.dispose());
    }
    if (readme)
      it("shows its keys in its README as they are", () => {
        expect(readFileSync(readme, "utf8")).toContain(configTable(method));
      });
    for (const config of configs)
      for (const model of models) {
        const base = randomBase(model);
        const adapted = method(config);
        const adapter = adapt(model, [adapted]);
        describe(`${JSON.stringify(config)} on a ${model.info.type}`, () => {
          const subject = (): Subject => ({
            method,
            adapted,
            adapter,
            companions,
            tolerance,
            lr,
            rig: { model, base, runtime },
          });
          for (const property of propertiesOf(model, method, adapter, companions, except)) {
            const reason = property.unless && except[property.unless.declared];
            const { says, check } = (reason !== undefined && property.unless) || property;
            it(reason === undefined ? says : `${says}: ${reason}`, () => check(subject()));
          }
        });
      }
  });
}

/** Whether rows of one batch may have it or not, as far as can be told without trying: not what changes parameters. */
const shares = ({ adaptation }: Adapted): boolean => adaptation.param === undefined;

/** The properties that make sense for a method; those that hang on what it is say so by their name. */
function propertiesOf(
  model: Model,
  method: AnyMethod,
  adapter: Adapter,
  companions: readonly Adapted[],
  except: DescribeOptions["except"] = {},
): readonly Property[] {
  const folds = (companion: Adapted): boolean => {
    try {
      merge(model, randomBase(model), [{ adapter: adapt(model, [companion]), state: new Map() }]);
      return true;
    } catch (error) {
      if (NotMergeable.is(error)) return false;
      throw error;
    }
  };
  return [
    ...attaching,
    ...("target" in method.method.config.shape ? [targeting] : []),
    ...starting,
    ...training,
    drawsNoise(model, adapter) ? noisy : accumulating,
    ...keeping,
    mixing,
    ...(except.mix === undefined ? companions.filter(shares).map(mixingWith) : []),
    mergeable,
    ...(except.merge === undefined ? [...merging, ...companions.filter(folds).map(mergingWith)] : []),
    ...companions.map(besides),
  ];
}
