/** @file Writing sequences on, token by token. */
import { ShapeError } from "@graftml/tensor";
import { checkSequences, type MixedSetup } from "./logits.ts";
import { checkSampling, draw, likeliest, type Sampling } from "./sample.ts";
import { openSession, promptLength, roomIn, rowsBefore, type Session } from "./session.ts";

/** What to write on, or, with an encoder-decoder, what to answer; and how. */
export interface GenerateRequest {
  /** Token ids of each prompt, at least one; prompts may differ in length. */
  readonly prompts: readonly (readonly number[])[];
  /** Tokens to write for each at most. */
  readonly maxNewTokens: number;
  /** Ids that end a sequence. */
  readonly stop?: readonly number[];
  /**
   * For each prompt the number of the stack that it goes through, from 1 on; 0: none of them. By default the first one's for
   * all. Rows of one request may choose differently, and the next request anew, without compiling again.
   */
  readonly rows?: readonly number[];
  /** How tokens are drawn; the likeliest if absent. */
  readonly sampling?: Sampling;
}

/** A token that was written. */
export interface NewToken {
  /** Which prompt it continues. */
  readonly row: number;
  readonly id: number;
  /** Why nothing follows it: a stop id, or no room for more; null where more follows. */
  readonly end: "stop" | "length" | null;
}

/** Writes sequences on. Programs and caches are kept from one request to the next. */
export interface Generator {
  /**
   * Tokens as they are written, row after row of every step. To stop early, leave the loop.
   * @throws {ShapeError} if a prompt is empty, longer than the model's positions, or holds an id that the vocabulary lacks;
   * if a row names a stack that is not there, or if another request is not done yet.
   * @throws {ConfigError} if a sampling setting makes no sense.
   */
  generate(request: GenerateRequest): AsyncGenerator<NewToken, void, undefined>;
  /** Frees programs and caches. */
  dispose(): void;
}

/** A cache has a multiple of this many rows: requests of similar length share it. */
const STEP = 64;

/**
 * A generator over a model and its adapters, whose parameters the store knows.
 *
 * @example
 * const generator = openGenerator({ runtime, store, model });
 * for await (const { id } of generator.generate({ prompts: [tokenizer.encode("Once upon")], maxNewTokens: 64, stop: eos }))
 *   process.stdout.write(tokenizer.decode([id]));
 */
export function openGenerator(setup: MixedSetup): Generator {
  const { decoderStart, maxLength, vocabulary } = setup.model.info;
  const stacks = setup.stacks?.length ?? 0;
  const before = rowsBefore(setup);
  const room = roomIn(setup);
  const sessions = new Map<number, Session>();
  let busy = false;

  const sessionFor = (prompts: GenerateRequest["prompts"], tokens: number): Session => {
    const batch = prompts.length;
    const known = sessions.get(batch);
    const source = decoderStart === undefined ? 0 : promptLength(prompts, room);
    if (known !== undefined && known.cache.rows >= before + tokens && known.cache.source >= source) return known;
    known?.dispose();
    const rows = Math.ceil((before + tokens) / STEP) * STEP;
    const session = openSession(setup, { batch, rows, source });
    sessions.set(batch, session);
    return session;
  };

  async function* generate({
    prompts,
    maxNewTokens,
    stop = [],
    rows = prompts.map(() => Math.min(1, stacks)),
    sampling,
  }: GenerateRequest): AsyncGenerator<NewToken, void, undefined> {
    checkSequences(prompts, vocabulary);
    prompts.forEach(({ length }, row) => {
      if (length > room)
        throw new ShapeError(
          `prompt ${row} has ${length} tokens; this model takes ${room} at most${room < maxLength ? `: ${maxLength - room} of its ${maxLength} positions go to adapters` : ""}.`,
        );
    });
    checkRows(rows, prompts.length, stacks);
    if (sampling !== undefined) checkSampling(sampling);
    if (maxNewTokens < 1 || prompts.length === 0) return;
    if (busy)
      throw new ShapeError("this generator is writing already; finish that request, or open another generator.");
    busy = true;
    try {
      const longest = decoderStart === undefined ? Math.max(...prompts.map((p) => p.length)) : 1;
      const session = sessionFor(prompts, Math.min(longest + maxNewTokens, room));
      const ids = new Int32Array(prompts.length);
      let open = [...prompts.keys()];
      let logits = await session.read(prompts, rows);
      for (let step = 0; ; step++) {
        const written = open.map((row): NewToken => {
          const scores = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
          const id = sampling === undefined ? likeliest(scores) : draw(scores, sampling, { row, step });
          const full = step + 1 === maxNewTokens || (session.lengths[row] ?? 0) >= room;
          return { row, id, end: stop.includes(id) ? "stop" : full ? "length" : null };
        });
        yield* written;
        for (const { row, id } of written) ids[row] = id;
        open = written.filter((t) => t.end === null).map((t) => t.row);
        if (open.length === 0) return;
        logits = await session.write(ids);
      }
    } finally {
      busy = false;
    }
  }
  return { generate, dispose: () => sessions.forEach((s) => s.dispose()) };
}

function checkRows(rows: readonly number[], prompts: number, stacks: number): void {
  if (rows.length !== prompts) throw new ShapeError(`${prompts} prompts need a stack each; rows names ${rows.length}.`);
  const wrong = rows.find((stack) => !Number.isInteger(stack) || stack < 0 || stack > stacks);
  if (wrong !== undefined)
    throw new ShapeError(`a row names stack ${wrong}; this generator has ${stacks}, counted from 1, and 0 for none.`);
}
