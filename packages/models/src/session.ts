/** @file A batch of sequences in progress: a cache, and the programs that read prompts into it and write tokens on. */
import { openScope } from "@graftml/peft";
import { add, cast, fill, gather, type Program, reshape, scale, shift, Trace, type Values } from "@graftml/tensor";
import { type Cache, closeCache, continuing, openCache, writing } from "./cache.ts";
import { iota } from "./layers.ts";
import { inferenceScope, layersIn, padded, type Setup } from "./logits.ts";

/** Sequences that can be written on. */
export interface Session {
  readonly cache: Cache;
  /** Starts over: reads a prompt for each sequence. Logits of the tokens that follow, [B, V]. */
  read(prompts: readonly (readonly number[])[]): Promise<Values>;
  /** Takes one token more for each sequence, which so far has `lengths` tokens. Logits of the tokens that follow, [B, V]. */
  write(ids: Int32Array, lengths: Int32Array): Promise<Values>;
  /** Frees cache and programs. */
  dispose(): void;
}

/** Prompts are padded to a multiple of this: fewer programs to compile. */
const STEP = 8;

/** Rows that methods put before the tokens of a sequence (a prompt's, not a prefix's, which is no part of it). */
export function rowsBefore(setup: Setup): number {
  const { model } = setup;
  const trace = new Trace();
  const scope = openScope(trace, layersIn(setup), { train: false, model: model.info });
  return (model.forward(scope, model.inputs(trace, { batch: 1, length: 1 })).shape[1] ?? 1) - 1;
}

/**
 * Opens a session for so many sequences of at most so many rows: tokens, and what methods put before them. Its programs are
 * compiled when they are first needed.
 */
export function openSession(setup: Setup, batch: number, rows: number): Session {
  const { runtime, store, model } = setup;
  const before = rowsBefore(setup);
  const cache = openCache(store, model, batch, rows);

  const compileReader = (length: number): Promise<Program> =>
    runtime.compile(store, (trace) => {
      const start = cast(fill(trace, [batch], 0), "i32");
      const scope = inferenceScope(trace, setup, [...layersIn(setup), writing(cache, start)]);
      const read = model.inputs(trace, { batch, length });
      const hidden = model.forward(scope, read); // [B, T', D]
      const [, T = 0, D = 0] = hidden.shape;
      const lengths = trace.input("lengths", [batch], "i32");
      const last = add(scale(cast(iota(trace, batch), "i32"), T), shift(lengths, before - 1)); // [B], among B·T' rows
      return { logits: model.head(scope, gather(reshape(hidden, [batch * T, D]), last), read) };
    });

  const compileWriter = (): Promise<Program> =>
    runtime.compile(store, (trace) => {
      const row = shift(trace.input("lengths", [batch], "i32"), before); // [B]
      const scope = inferenceScope(trace, setup, [...layersIn(setup), continuing(cache, row)]);
      const inputs = { ...model.inputs(trace, { batch, length: 1 }), positions: reshape(row, [batch, 1]) };
      const hidden = model.forward(scope, inputs); // [B, 1, D]
      return { logits: model.head(scope, reshape(hidden, [batch, model.info.hidden]), inputs) };
    });

  const readers = new Map<number, Promise<Program>>();
  let writer: Promise<Program> | null = null;
  const run = async (program: Promise<Program>, ids: Int32Array, lengths: Int32Array): Promise<Values> => {
    const { logits = new Float32Array() } = await (await program).run({ ids, lengths });
    return logits;
  };
  return {
    cache,
    read: (prompts) => {
      const lengths = Int32Array.from(prompts, (p) => p.length);
      const length = Math.min(Math.ceil(Math.max(...lengths) / STEP) * STEP, model.info.maxLength);
      const reader = readers.get(length) ?? compileReader(length);
      readers.set(length, reader);
      return run(reader, padded(prompts, length), lengths);
    },
    write: (ids, lengths) => run((writer ??= compileWriter()), ids, lengths),
    dispose: () => {
      for (const program of [...readers.values(), ...(writer === null ? [] : [writer])])
        // A program that did not compile has told so where it was awaited, and has nothing to free.
        program.then(
          (p) => p.dispose(),
          () => undefined,
        );
      closeCache(store, model, cache);
    },
  };
}
