/** @file A batch of sequences in progress: a cache, and the programs that read prompts into it and write tokens on. */
import { contextTaken, openScope } from "@graftml/peft";
import {
  add,
  cast,
  fill,
  gather,
  type Program,
  reshape,
  scale,
  shift,
  type Source,
  Trace,
  type Values,
} from "@graftml/tensor";
import { type Cache, closeCache, continuing, openCache, writing } from "./cache.ts";
import { iota } from "./layers.ts";
import { inferenceScope, layersIn, maskOf, mixedLayersIn, type MixedSetup, padded, ways } from "./logits.ts";

/** Sequences that can be written on. */
export interface Session {
  readonly cache: Cache;
  /** Tokens that each sequence has so far: those of its prompt, or, where an encoder reads that, the one that begins a text. */
  readonly lengths: Int32Array;
  /**
   * Starts over: reads a prompt for each sequence. Logits of the tokens that follow, [B, V].
   * @param rows for each sequence the number of its stack, from 1 on; 0: none. Read where there are stacks.
   */
  read(prompts: readonly (readonly number[])[], rows: readonly number[]): Promise<Values>;
  /** Takes one token more for each sequence. Logits of the tokens that follow, [B, V]. */
  write(ids: Int32Array): Promise<Values>;
  /** Frees cache and programs. */
  dispose(): void;
}

/** Prompts are padded to a multiple of this: fewer programs to compile. */
const STEP = 8;

/** Rows that methods put before the tokens of a sequence (a prompt's, not a prefix's, which is no part of it), at most. */
export function rowsBefore(setup: MixedSetup): number {
  const { model } = setup;
  const before = ways(setup).map((way) => {
    const trace = new Trace();
    const scope = openScope(trace, layersIn(way), { train: false, model: model.info });
    return (model.forward(scope, model.inputs(trace, { batch: 1, length: 1 })).shape[1] ?? 1) - 1;
  });
  return Math.max(...before);
}

/** Tokens that a sequence may have: the model's positions, less those that methods take. */
export const roomIn = (setup: MixedSetup): number =>
  setup.model.info.maxLength - Math.max(...ways(setup).map((way) => contextTaken(setup.model, layersIn(way))));

/** Length that prompts are padded to. */
export const promptLength = (prompts: readonly (readonly number[])[], room: number): number =>
  Math.min(Math.ceil(Math.max(...prompts.map((p) => p.length)) / STEP) * STEP, room);

/** Opens a session for sequences of the cache's size. Its programs are compiled when they are first needed. */
export function openSession(setup: MixedSetup, size: Omit<Cache, "id">): Session {
  const { runtime, store, model } = setup;
  const { batch, source } = size;
  const { hidden: D, decoderStart } = model.info;
  const before = rowsBefore(setup);
  const room = roomIn(setup);
  const cache = openCache(setup, size);

  const compileReader = (length: number): Promise<Program> =>
    runtime.compile(store, (trace) => {
      const start = cast(fill(trace, [batch], 0), "i32");
      const scope = inferenceScope(trace, setup, [...mixedLayersIn(setup, trace, batch), writing(cache, start)]);
      const read = model.inputs(trace, { batch, length, target: 1 });
      const hidden = model.forward(scope, read); // [B, T', D]
      const T = hidden.shape[1] ?? 0;
      const lengths = trace.input("lengths", [batch], "i32");
      const last = add(scale(cast(iota(trace, batch), "i32"), T), shift(lengths, before - 1)); // [B], among B·T' rows
      return { logits: model.head(scope, gather(reshape(hidden, [batch * T, D]), last), read) };
    });

  const compileWriter = (): Promise<Program> =>
    runtime.compile(store, (trace) => {
      const row = shift(trace.input("lengths", [batch], "i32"), before); // [B]
      const inputs = model.inputs(trace, { batch, length: Math.max(1, source), target: 1 });
      const writer = continuing(cache, row, inputs.decoder ?? inputs.ids);
      const layers = [...mixedLayersIn(setup, trace, batch), writer];
      const scope = inferenceScope(trace, setup, layers);
      const hidden = model.forward(scope, { ...inputs, positions: reshape(row, [batch, 1]) }); // [B, 1, D]
      return { logits: model.head(scope, reshape(hidden, [batch, D]), inputs) };
    });

  const readers = new Map<number, Promise<Program>>();
  let writer: Promise<Program> | null = null;
  const lengths = new Int32Array(batch);
  let mask = new Float32Array(); // of the texts that an encoder has read
  let chosen: readonly number[] = []; // stacks of the sequences
  const run = async (program: Promise<Program>, inputs: Readonly<Record<string, Source>>): Promise<Values> => {
    const { logits = new Float32Array() } = await (await program).run({ ...inputs, lengths, adapter: chosen });
    return logits;
  };
  return {
    cache,
    lengths,
    read: (prompts, rows) => {
      chosen = rows;
      const length = decoderStart === undefined ? promptLength(prompts, room) : source;
      const reader = readers.get(length) ?? compileReader(length);
      readers.set(length, reader);
      lengths.set(prompts.map((p) => (decoderStart === undefined ? p.length : 1)));
      mask = maskOf(prompts, length);
      const begun = new Int32Array(batch).fill(decoderStart ?? 0);
      return run(reader, { ids: padded(prompts, length), mask, decoder_ids: begun });
    },
    write: async (ids) => {
      const tokens = decoderStart === undefined ? { ids } : { decoder_ids: ids };
      const logits = await run((writer ??= compileWriter()), { ...tokens, mask });
      lengths.forEach((n, row) => (lengths[row] = n + 1));
      return logits;
    },
    dispose: () => {
      for (const program of [...readers.values(), ...(writer === null ? [] : [writer])])
        // A program that did not compile has told so where it was awaited, and has nothing to free.
        program.then(
          (p) => p.dispose(),
          () => undefined,
        );
      closeCache(setup, cache);
    },
  };
}
