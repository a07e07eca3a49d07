/** @file Writing prompts on with a session's model: tokens in batches, text as it becomes certain. */
import { type MixedSetup, openGenerator, type TextTokenizer } from "@graftml/models";
import type { Runtime, Store } from "@graftml/tensor";
import { UsageError } from "./errors.ts";
import type { Session } from "./session.ts";

/** A prompt as tokens. */
export interface Prompt {
  /** Null for ids given as such. */
  readonly text: string | null;
  readonly ids: readonly number[];
  /** Number of the stack that writes it on, from 1 on; 0: none. */
  readonly stack?: number;
}

/** What was written after a prompt. */
export interface Written {
  readonly prompt: string | null;
  /** Null without a tokenizer. */
  readonly text: string | null;
  readonly ids: readonly number[];
  readonly end: "stop" | "length";
}

/** How to write. */
export interface WriteOptions {
  readonly maxNewTokens: number;
  readonly sampling?: {
    readonly temperature?: number;
    readonly topK?: number;
    readonly topP?: number;
    readonly seed: number;
  };
  /** Prompts that are written on at a time; default 16. */
  readonly batch?: number;
  /** Told every piece of text as soon as no further token can change it. */
  readonly onText?: (row: number, text: string) => void;
}

/**
 * Tokens of a prompt. A text that is to be written on goes without the end token that a template puts behind it, which would
 * end it; one that an encoder reads goes with it.
 */
export function promptOf(text: string, { tokenizer, model }: Session["loaded"]): Prompt {
  if (tokenizer === null) throw new UsageError('this model has no tokenizer.json: give token ids, --ids "1 2 3".');
  const { eos } = tokenizer;
  const ids = tokenizer.encode(text);
  const open = ids.at(-1) === eos ? ids.slice(0, -1) : ids;
  return { text, ids: model.info.decoderStart === undefined || eos === null ? open : [...open, eos] };
}

/** Tokens of a chat with one turn of the user's, as the tokenizer's template has it: the assistant's answer comes next. */
export function chatPromptOf(text: string, { tokenizer }: Session["loaded"]): Prompt {
  if (tokenizer === null || tokenizer.chat === null)
    throw new UsageError("--chat: this model's tokenizer has no chat template (chat_template.jinja).");
  const written = tokenizer.chat.prompt([{ role: "user", content: text }]);
  // The template has written the special tokens itself.
  return { text, ids: tokenizer.encode(written, { special: false }) };
}

/**
 * Writes prompts on, with the session's adapters.
 * @param options.stacks adapters outside of those, among which prompts choose.
 */
export async function write(
  { runtime, store }: { readonly runtime: Runtime; readonly store: Store },
  { loaded: { model, tokenizer, eos }, stack }: Session,
  prompts: readonly Prompt[],
  { maxNewTokens, sampling, batch = 16, onText }: WriteOptions,
  { stacks = [] }: { readonly stacks?: MixedSetup["stacks"] } = {},
): Promise<readonly Written[]> {
  const adapters = stack.map((s) => s.adapter);
  const generator = openGenerator({ runtime, store, model, adapters, ...(stacks.length > 0 && { stacks }) });
  const written: Written[] = [];
  try {
    for (let start = 0; start < prompts.length; start += batch) {
      const some = prompts.slice(start, start + batch);
      // An encoder-decoder's answer begins a text of its own.
      const before = (row: number): readonly number[] =>
        model.info.decoderStart === undefined ? (some[row]?.ids ?? []) : [];
      const rows = some.map(() => ({ ids: [] as number[], end: "length" as Written["end"], said: 0 }));
      const chosen = some.map((p) => p.stack ?? 0);
      const request = {
        prompts: some.map((p) => p.ids),
        rows: chosen,
        maxNewTokens,
        stop: eos,
        ...(sampling && { sampling }),
      };
      for await (const { row, id, end } of generator.generate(request)) {
        const state = rows[row];
        if (state === undefined) continue;
        if (end !== "stop") state.ids.push(id);
        state.end = end ?? state.end;
        if (onText === undefined || tokenizer === null) continue;
        const text = textAfter(tokenizer, before(row), state.ids);
        // A character may take several tokens; until they are all there its bytes are shown as "\uFFFD".
        if (end === null && text.endsWith("\uFFFD")) continue;
        onText(start + row, text.slice(state.said));
        state.said = text.length;
      }
      rows.forEach(({ ids, end }, i) =>
        written.push({
          prompt: some[i]?.text ?? null,
          text: tokenizer && textAfter(tokenizer, before(i), ids),
          ids,
          end,
        }),
      );
    }
  } finally {
    generator.dispose();
  }
  return written;
}

/** Text of new tokens. They are decoded behind what they continue: a tokenizer may drop a space at the start of a text. */
const textAfter = (tokenizer: TextTokenizer, before: readonly number[], ids: readonly number[]): string =>
  tokenizer.decode([...before, ...ids]).slice(tokenizer.decode(before).length);
