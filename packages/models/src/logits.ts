/** @file Running a model without training it: the scope for it, and the logits of given tokens. */
import { type Adapter, type Layer, type Model, openScope, type Scope } from "@graftml/peft";
import { type Runtime, ShapeError, slice, type Store, type Trace, type Values } from "@graftml/tensor";

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

/** The top of a model where nothing is trained. */
export const inferenceScope = (trace: Trace, { store, model }: Setup, layers: readonly Layer[]): Scope =>
  openScope(trace, layers, { train: false, model: model.info, dtypeOf: (name) => store.declaration(name).dtype });

/**
 * Logits of every token of every sequence, for comparing models: all of them are in memory at once. An encoder-decoder
 * reads each sequence and writes it once more.
 *
 * @param sequences token ids; they may differ in length.
 * @throws {ShapeError} for a sequence that is empty, too long, or holds an id that the vocabulary lacks.
 * @returns for each sequence its logits [T, V], row by row.
 */
export async function logitsOf(setup: Setup, sequences: readonly (readonly number[])[]): Promise<readonly Values[]> {
  const { runtime, store, model } = setup;
  checkSequences(sequences, model.info.vocabulary);
  const [batch, length] = [sequences.length, Math.max(...sequences.map((s) => s.length))];
  const program = await runtime.compile(store, (trace) => {
    const scope = inferenceScope(trace, setup, layersIn(setup));
    const read = model.inputs(trace, { batch, length });
    const hidden = model.forward(scope, read); // [B, T', D]
    const real = slice(hidden, 1, (hidden.shape[1] ?? 0) - length, length); // [B, T, D]
    return { logits: model.head(scope, real, read) };
  });
  try {
    const begun = sequences.map((s) => [model.info.decoderStart ?? 0, ...s.slice(0, -1)]);
    const ids = padded(sequences, length);
    const inputs = { ids, mask: maskOf(sequences, length), decoder_ids: padded(begun, length) };
    const { logits = new Float32Array() } = await program.run(inputs);
    const width = model.info.vocabulary;
    return sequences.map((s, i) => logits.slice(i * length * width, (i * length + s.length) * width));
  } finally {
    program.dispose();
  }
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
