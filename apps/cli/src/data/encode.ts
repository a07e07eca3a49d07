/** @file Rows to the examples of a task, by a model's tokenizer and its chat template, when a step first needs them. */
import { join } from "node:path";
import type { LoadedModel, TextTokenizer } from "@graftml/models";
import { GraftError, IGNORE } from "@graftml/tensor";
import {
  each,
  encodeJudged,
  encodePair,
  encodeSpans,
  encodeText,
  encodeWords,
  type Encoding,
  type Example,
  lazyRows,
  multiLabel,
  type Rows,
} from "@graftml/trainer";
import { UsageError } from "../errors.ts";
import { showFile } from "../io.ts";
import type { Run } from "../schema.ts";
import { hasEach, numbersOf } from "./labels.ts";
import type { Records } from "./records.ts";
import type { Row } from "./row.ts";
import { openSpool } from "./spool.ts";

/** What rows are made into examples by. */
export interface Encoder {
  readonly tokenizer: TextTokenizer;
  /** The end token; null if the tokenizer has none. */
  readonly end: number | null;
  readonly maxLength: number;
  /** Names of the classes. */
  readonly labels: readonly string[];
  /** Whether a text may have several of them. */
  readonly several: boolean;
}

/** How rows of a task become examples. */
interface TaskEncoder {
  readonly row: (row: Row, encoder: Encoder) => Example;
  /** A piece of a running text that fills an example; absent where a task has no use for running text. */
  readonly piece?: (ids: readonly number[], encoder: Encoder) => Example;
}

/** How rows of the tasks on texts become examples, by the tasks' names. */
const encoders: Readonly<Record<string, TaskEncoder>> = {
  "causal-lm": { row: encodeLanguage, piece: (ids) => ({ ids, labels: ids }) },
  "masked-lm": {
    row: ({ text = "", origin }, encoder) => encodeJudged([text], [], { ...framing(encoder), origin }),
    piece: (ids, { tokenizer, maxLength }) => ({ ...tokenizer.around([ids], maxLength), labels: [] }),
  },
  "seq2seq-lm": {
    row: ({ source = "", target = "", origin }, encoder) => ({
      ids: ended(source, encoder),
      labels: ended(target, encoder),
      origin,
    }),
  },
  "sequence-classification": {
    row: (row, encoder) => {
      const { text = "", pair, origin } = row;
      const texts = pair === undefined ? [text] : [text, pair];
      const labels = (encoder.several ? hasEach : numbersOf)(row, encoder.labels);
      return encodeJudged(texts, labels, { ...framing(encoder), origin });
    },
  },
  "token-classification": {
    row: (row, encoder) =>
      encodeWords(row.tokens ?? [], numbersOf(row, encoder.labels), { ...framing(encoder), origin: row.origin }),
  },
};

/** A text with the template around it and the end token at its end, however short it has to be cut for that. */
function ended(text: string, { tokenizer, end, maxLength }: Encoder): readonly number[] {
  const plain = tokenizer.encode(text, { special: false });
  const { ids } = tokenizer.around([plain], maxLength);
  return end === null || ids.at(-1) === end ? ids : [...tokenizer.around([plain], maxLength - 1).ids, end];
}

const encoding = ({ tokenizer, end, maxLength }: Encoder) => ({
  encode: (text: string): readonly number[] => tokenizer.encode(text),
  end,
  maxLength,
});

const framing = ({ tokenizer, maxLength }: Encoder) => ({
  plain: (text: string): readonly number[] => tokenizer.encode(text, { special: false }),
  around: tokenizer.around,
  maxLength,
});

/** @throws {UsageError} if the model has no tokenizer. */
function encoderOf(
  { model: folder, data }: Pick<Run, "model" | "data">,
  { tokenizer, eos, model }: LoadedModel,
): Encoder {
  if (tokenizer === null)
    throw new UsageError(
      `${join(folder, "tokenizer.json")} is missing: without it texts cannot be turned into tokens.`,
    );
  const maxLength = Math.min(data.max_length, model.info.maxLength);
  return {
    tokenizer,
    end: tokenizer.eos ?? eos[0] ?? null,
    maxLength,
    labels: data.labels ?? [],
    several: multiLabel(model.info),
  };
}

/**
 * Examples of rows, which are made when they are first asked for; running text is cut into examples at once.
 * @param told whether examples are to say how many characters their labels stand for.
 */
export function encodeRows(
  rows: Records,
  { task, ...run }: Pick<Run, "model" | "task" | "data">,
  loaded: LoadedModel,
  { told }: { readonly told: boolean },
): Rows<Example> {
  const encoder = encoderOf(run, loaded);
  const known = encoders[task];
  if (known === undefined) throw new UsageError(`${task} is no task on texts.`);
  const count = (example: Example): Example =>
    told ? { ...example, characters: charactersOf(example, encoder) } : example;
  if (rows.running !== undefined) {
    const { row, piece } = known;
    if (piece === undefined) throw new UsageError(`${rows.running}: running text is no data for ${task}.`);
    return putAside(cutRunning(rows, encoder, { row, piece }), count);
  }
  return lazyRows({
    sources: rows,
    make: (row) => count(known.row(row, encoder)),
    weight: (row) => 4 * JSON.stringify(row).length,
    identity: (row) => row,
    settings: [encoder.maxLength, encoder.labels],
  });
}

/** Examples that have to be made before the first step. */
function putAside(examples: Iterable<Example>, make: (example: Example) => Example): Rows<Example> {
  const sources = openSpool<Example>();
  for (const example of examples) sources.add(example);
  return lazyRows({ sources, make, weight: ({ ids }) => 16 * ids.length, identity: make, settings: [] });
}

/** Characters that an example's labels stand for; nothing predicts the first token. */
const charactersOf = ({ labels }: Example, { tokenizer }: Encoder): number =>
  tokenizer.decode(labels.filter((label, i) => i > 0 && label !== IGNORE)).length;

/**
 * Refuses data of which nothing would be learnt, before a device is opened.
 * @throws {UsageError} naming the files.
 */
export function refuseUnlearnt(
  examples: Rows<{ readonly labels: readonly number[] }>,
  { train, max_length: longest }: Run["data"],
): void {
  for (let i = 0; i < examples.length; i++) {
    const { labels } = examples.at(i) ?? { labels: [] };
    // The first of several has nothing before it that would predict it.
    if (labels.length < 2 || labels.slice(1).some((label) => label !== IGNORE)) return;
  }
  const files = [train ?? []].flat().map((file) => showFile(file));
  throw new UsageError(
    `${files.join(", ")}: nothing would be learnt: none of ${examples.length} rows has a label among its first ${longest} tokens. \`graft inspect --tokens\` shows what is learnt; raise data.max_length, or check which column is which.`,
  );
}

function encodeLanguage(
  { text = "", prompt, completion = "", messages, asked, origin }: Row,
  encoder: Encoder,
): Example {
  const { tokenizer, end } = encoder;
  const options: Encoding = { ...encoding(encoder), origin };
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { special: true });
  if (prompt !== undefined) return encodePair(prompt, completion, { ...options, decode });
  if (messages === undefined) return encodeText(text, options);
  if (tokenizer.chat === null)
    throw new UsageError(
      `${origin}: the model's tokenizer has no chat template, so nobody can say how chats are written. Add chat_template.jinja to its folder, or give prompt and completion.`,
    );
  try {
    const { text, spans, ended } = tokenizer.chat.render(messages, asked);
    // The template has written the special tokens itself.
    const plain = (text: string): readonly number[] => tokenizer.encode(text, { special: false });
    return encodeSpans(text, spans, { ...options, encode: plain, decode, end: ended ? null : end });
  } catch (cause) {
    if (GraftError.is(cause)) throw new UsageError(`${origin}: ${cause.message}`, { cause });
    throw cause;
  }
}

/** Running texts, each cut into as many examples as it fills, among rows of other files; a rest of one token has nothing to predict. */
function* cutRunning(
  rows: Rows<Row>,
  encoder: Encoder,
  { row: encode, piece }: TaskEncoder & Required<Pick<TaskEncoder, "piece">>,
): Generator<Example> {
  const { tokenizer, maxLength } = encoder;
  const room = maxLength - piece([], encoder).ids.length;
  let [held, done, from]: [readonly number[], number, string] = [[], 0, ""];
  const cut = function* (least: number): Generator<Example> {
    let at = 0;
    for (; held.length - at >= least; at += room)
      yield { ...piece(held.slice(at, at + room), encoder), origin: `${from}, tokens ${done + at} on` };
    [held, done] = [held.slice(at), done + at];
  };
  for (const row of each(rows)) {
    if (row.running !== "next") {
      yield* cut(2);
      [held, done, from] = [[], 0, row.origin];
    }
    if (row.running === undefined) yield encode(row, encoder);
    else held = held.concat(tokenizer.encode(row.text ?? "", { special: false }));
    yield* cut(room);
  }
  yield* cut(2);
}
