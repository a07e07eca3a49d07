/** @file Running a model without training it: the scope for it, and the logits of given tokens. */
import {
  type Adapter,
  type BatchSize,
  type Layer,
  mixed,
  type Model,
  openScope,
  predict,
  rngOf,
  type Scope,
} from "@graftml/peft";
import {
  type Runtime,
  type Shape,
  ShapeError,
  sizeOf,
  slice,
  type Source,
  type Store,
  Trace,
  type Values,
} from "@graftml/tensor";

/** What runs: a model whose weights and adapters a store knows. */
export interface Setup {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly model: Model;
  /** Innermost first. */
  readonly adapters?: readonly Adapter[];
}

/** The onion's layers of a stack of adapters. */
export const layersIn = ({ adapters = [] }: Setup): readonly Layer[] => adapters.flatMap((a) => a.layers);

/** A model whose rows choose among stacks of adapters. */
export interface MixedSetup extends Setup {
  /** Each innermost first; they stand outside of `adapters`, which all rows have. */
  readonly stacks?: readonly (readonly Adapter[])[];
}

/** Every way through the model that a row can take. */
export const ways = ({ stacks = [], ...setup }: MixedSetup): readonly Setup[] => [
  setup,
  ...stacks.map((stack) => ({ ...setup, adapters: [...(setup.adapters ?? []), ...stack] })),
];

/** The onion's layers for a batch in which the input "adapter", i32 [B], names each row's stack, from 1 on; 0: none. */
export const mixedLayersIn = (setup: MixedSetup, trace: Trace, batch: number): readonly Layer[] => {
  const { stacks = [] } = setup;
  if (stacks.length === 0) return layersIn(setup);
  const index = trace.input("adapter", [batch], "i32");
  const layers = stacks.map((adapters) => layersIn({ ...setup, adapters }));
  return [...layersIn(setup), mixed(index, layers)];
};

/** The top of a model where nothing is trained. */
export const inferenceScope = (trace: Trace, { store, model }: Setup, layers: readonly Layer[]): Scope =>
  openScope(trace, layers, { train: false, model: model.info, dtypeOf: (name) => store.declaration(name).dtype });

/** Logits of a batch as one list, row by row, without rows that methods put before the tokens. */
async function logitsFor(
  setup: Setup,
  size: BatchSize,
  inputs: Readonly<Record<string, Source>>,
): Promise<{ readonly logits: Values; readonly shape: Shape }> {
  const { runtime, store, model } = setup;
  let shape: Shape = [];
  const program = await runtime.compile(store, (trace) => {
    const all = predict(model, inferenceScope(trace, setup, layersIn(setup)), size); // [B, T', V] or [B, labels]
    const [, rows = 0] = all.shape;
    const logits = all.shape.length < 3 ? all : slice(all, 1, rows - size.length, size.length);
    ({ shape } = logits);
    return { logits };
  });
  try {
    const { logits = new Float32Array() } = await program.run(inputs);
    return { logits, shape };
  } finally {
    program.dispose();
  }
}

/**
 * Logits of every token of every sequence, for comparing models: all of them are in memory at once. An encoder-decoder
 * reads each sequence and writes it once more.
 *
 * @param sequences token ids; they may differ in length.
 * @throws {ShapeError} for a sequence that is empty, too long, or holds an id that the vocabulary lacks.
 * @returns for each sequence its logits [T, V], row by row; of a head that judges whole sequences [labels].
 */
export async function logitsOf(setup: Setup, sequences: readonly (readonly number[])[]): Promise<readonly Values[]> {
  const { vocabulary, decoderStart = 0 } = setup.model.info;
  checkSequences(sequences, vocabulary);
  const [batch, length] = [sequences.length, Math.max(...sequences.map((s) => s.length))];
  const begun = sequences.map((s) => [decoderStart, ...s.slice(0, -1)]);
  const inputs = {
    ids: padded(sequences, length),
    mask: maskOf(sequences, length),
    types: new Int32Array(batch * length),
    decoder_ids: padded(begun, length),
  };
  const { logits, shape } = await logitsFor(setup, { batch, length }, inputs);
  const row = logits.length / batch;
  const kept = ({ length: tokens }: readonly number[]): number => (shape.length < 3 ? row : (row / length) * tokens);
  return sequences.map((s, i) => logits.slice(i * row, i * row + kept(s)));
}

/** Logits of a random batch, always the same one: what shows whether two models are one. */
export async function probeLogits(setup: Setup, size: BatchSize): Promise<Values> {
  const { model } = setup;
  const rng = rngOf(0, "probe batch");
  const { ids } = model.inputs(new Trace(), size);
  if (ids.dtype === "f32") {
    const pixels = new Float32Array(sizeOf(ids.shape)).map(() => rng.normal());
    return (await logitsFor(setup, size, { pixels })).logits;
  }
  const token = (): number => Math.floor(rng.uniform() * model.info.vocabulary);
  const rows = Array.from({ length: size.batch }, () => Array.from({ length: size.length }, token));
  return Float32Array.from((await logitsOf(setup, rows)).flatMap((row) => Array.from(row)));
}

/**
 * Checks sequences before they run: a device reads zeros for ids that the vocabulary does not have.
 * @throws {ShapeError} naming the first sequence that is empty or holds such an id.
 */
export function checkSequences(sequences: readonly (readonly number[])[], vocabulary: number): void {
  sequences.forEach((ids, i) => {
    if (ids.length === 0) throw new ShapeError(`sequence ${i} has no tokens; give it at least one.`);
    const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
    if (wrong !== undefined)
      throw new ShapeError(`sequence ${i} holds the id ${wrong}; this vocabulary has 0 to ${vocabulary - 1}.`);
  });
}

/** Sequences as one array [B, T], zeros on the right. */
export function padded(sequences: readonly (readonly number[])[], length: number): Int32Array {
  const ids = new Int32Array(sequences.length * length);
  sequences.forEach((s, row) => ids.set(s, row * length));
  return ids;
}

/** 1 at tokens, 0 at what `padded` puts behind them, [B, T]. */
export function maskOf(sequences: readonly (readonly number[])[], length: number): Float32Array<ArrayBuffer> {
  const mask = new Float32Array(sequences.length * length);
  sequences.forEach((s, row) => mask.fill(1, row * length, row * length + Math.min(s.length, length)));
  return mask;
}
