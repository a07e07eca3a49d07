/** @file Rows to examples of language modelling, by a model's tokenizer and its chat template. */
import { join } from "node:path";
import type { LoadedModel, TextTokenizer } from "@graftml/models";
import { GraftError, IGNORE } from "@graftml/tensor";
import { encodePair, encodeSpans, encodeText, type Encoding, type Example } from "@graftml/trainer";
import { UsageError } from "../errors.ts";
import { showFile } from "../io.ts";
import type { Run } from "../schema.ts";
import { layoutsOf } from "./columns.ts";
import { readRows } from "./read.ts";
import type { Row } from "./row.ts";

/**
 * Rows of data files as tokens.
 * @throws {UsageError} naming the row that cannot be encoded.
 */
export async function encodeRows(
  files: string | readonly string[],
  { model: folder, task, data: { columns, max_length: longest } }: Pick<Run, "model" | "task" | "data">,
  { tokenizer, eos, model }: LoadedModel,
): Promise<readonly Example[]> {
  if (tokenizer === null)
    throw new UsageError(
      `${join(folder, "tokenizer.json")} is missing: without it texts cannot be turned into tokens.`,
    );
  const maxLength = Math.min(longest, model.info.maxLength);
  const end = tokenizer.eos ?? eos[0] ?? null;
  const examples: Example[] = [];
  let text: RunningText | undefined;
  for await (const row of readRows(files, { columns, layouts: layoutsOf[task] })) {
    if (row.running !== "next") examples.push(...(text?.rest() ?? []));
    if (row.running === undefined) examples.push(encodeRow(row, tokenizer, { end, maxLength, origin: row.origin }));
    else {
      text = row.running === "first" || text === undefined ? runningText(maxLength, row.origin) : text;
      examples.push(...text.add(tokenizer.encode(row.text ?? "", { special: false })));
    }
  }
  examples.push(...(text?.rest() ?? []));
  return examples;
}

/**
 * Refuses data of which nothing would be learnt, before a device is opened.
 * @throws {UsageError} naming the files.
 */
export function refuseUnlearnt(examples: readonly Example[], { train, max_length: longest }: Run["data"]): void {
  // The first token has nothing before it that would predict it.
  if (examples.some(({ labels }) => labels.slice(1).some((label) => label !== IGNORE))) return;
  const files = [train ?? []].flat().map((file) => showFile(file));
  throw new UsageError(
    `${files.join(", ")}: nothing would be learnt: none of ${examples.length} rows has a label among its first ${longest} tokens. \`graft inspect --tokens\` shows what is learnt; raise data.max_length, or check which column is which.`,
  );
}

function encodeRow(
  { text = "", prompt, completion = "", messages }: Row,
  tokenizer: TextTokenizer,
  options: Omit<Encoding, "encode" | "decode"> & { readonly origin: string },
): Example {
  const encode = (text: string): readonly number[] => tokenizer.encode(text);
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { special: true });
  if (prompt !== undefined) return encodePair(prompt, completion, { ...options, encode, decode });
  if (messages === undefined) return encodeText(text, { ...options, encode });
  const { origin, end } = options;
  if (tokenizer.chat === null)
    throw new UsageError(
      `${origin}: the model's tokenizer has no chat template, so nobody can say how chats are written. Add chat_template.jinja to its folder, or give prompt and completion.`,
    );
  try {
    const { text, spans, ended } = tokenizer.chat.render(messages);
    // The template has written the special tokens itself.
    const plain = (text: string): readonly number[] => tokenizer.encode(text, { special: false });
    return encodeSpans(text, spans, { ...options, encode: plain, decode, end: ended ? null : end });
  } catch (cause) {
    if (GraftError.is(cause)) throw new UsageError(`${origin}: ${cause.message}`, { cause });
    throw cause;
  }
}

/** A running text that is being cut into examples. */
interface RunningText {
  /** The examples that further tokens fill. */
  add(ids: readonly number[]): readonly Example[];
  /** What is left at the end of the text; one token has nothing to predict. */
  rest(): readonly Example[];
}

function runningText(length: number, origin: string): RunningText {
  let [held, done]: [readonly number[], number] = [[], 0];
  const block = (ids: readonly number[]): Example => {
    const example = { ids, labels: ids, origin: `${origin}, tokens ${done} on` };
    done += ids.length;
    return example;
  };
  return {
    add(ids) {
      const all = held.concat(ids);
      const full = Math.floor(all.length / length);
      held = all.slice(full * length);
      return Array.from({ length: full }, (_, i) => block(all.slice(i * length, (i + 1) * length)));
    },
    rest: () => (held.length > 1 ? [block(held)] : []),
  };
}
