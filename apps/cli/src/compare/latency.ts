/** @file How long a pass over one row takes with an adapter beside the weights, and with it folded into them. */
import { type Base, declareBase, type Layer, NotMergeable, openScope, predict } from "@graftml/peft";
import type { Program, Runtime, Source, Store } from "@graftml/tensor";
import { each, factsOf, layersOf, type Rows } from "@graftml/trainer";
import { median } from "../median.ts";
import { mergedBase } from "../merging.ts";
import { declareSession, type Session } from "../session.ts";
import { type AnyExample, taskOf } from "../tasks.ts";

/** Milliseconds of a pass, medians. */
export interface Latency {
  readonly attached: number;
  /** Null if it cannot be merged. */
  readonly merged: number | null;
  /** Tokens of the row. */
  readonly tokens: number;
}

/** Passes that are timed of each. They take turns, so that a busy moment hits both. */
const ROUNDS = 9;
/** Passes before those. */
const WARM = 2;

/** Times the longest of the rows, alone in its batch, where what an adapter adds shows most. */
export async function latencyOf(runtime: Runtime, session: Session, rows: Rows<AnyExample>): Promise<Latency> {
  const { loaded, stack } = session;
  const { model } = loaded;
  const task = taskOf(session);
  const { store } = declareSession(runtime, session);
  const layers = layersOf(stack.map(({ adapter }) => adapter));
  const { lead } = factsOf({ runtime, store, model, adapters: [], task, batchSize: 1 }, layers);
  const row = longestOfAll(rows, (example) => task.size(example).length);
  const size = { batch: 1, ...task.size(row) };
  const draw = { seed: 0, epoch: 0, numbers: [0] };
  const { inputs } = task.collate([row], { ...size, lead }, { model: model.info, draw });

  const compile = (from: Store, attached: readonly Layer[]): Promise<Program> =>
    runtime.compile(from, (trace) => {
      const dtypeOf = (name: string) => from.declaration(name).dtype;
      const scope = openScope(trace, attached, { train: false, model: model.info, dtypeOf });
      return { y: predict(model, scope, size) };
    });
  const programs = [await compile(store, layers)];
  const folded = foldedBase(session);
  if (folded !== null) {
    const other = runtime.store();
    declareBase(other, folded);
    programs.push(await compile(other, []));
  }
  try {
    const [attached = NaN, merged = null] = await alternate(programs, inputs);
    return { attached, merged, tokens: size.length };
  } finally {
    for (const program of programs) program.dispose();
  }
}

function longestOfAll<T>(rows: Rows<T>, lengthOf: (row: T) => number): T {
  let longest: T | undefined;
  for (const row of each(rows)) if (longest === undefined || lengthOf(row) > lengthOf(longest)) longest = row;
  if (longest === undefined) throw new RangeError("there is no row to time a pass on.");
  return longest;
}

/** The base with all adapters folded in, or null if one cannot be. */
function foldedBase(session: Session): Base | null {
  try {
    return mergedBase(session);
  } catch (error) {
    if (NotMergeable.is(error)) return null;
    throw error;
  }
}

/** Median milliseconds of each program, run in turns. */
async function alternate(
  programs: readonly Program[],
  inputs: Readonly<Record<string, Source>>,
): Promise<readonly number[]> {
  const times = programs.map((): number[] => []);
  for (let round = -WARM; round < ROUNDS; round++)
    for (const [i, program] of programs.entries()) {
      const from = performance.now();
      await program.run(inputs);
      if (round >= 0) times[i]?.push(performance.now() - from);
    }
  return times.map(median);
}
