/** @file The tasks that run files name, as the trainer has them. */
import type { TokenBatch } from "@graftml/peft";
import {
  causalLm,
  type Example,
  imageClassification,
  type ImageExample,
  maskedLm,
  packedLm,
  packedSequenceClassification,
  type Rows,
  type Run as TrainerRun,
  seq2seqLm,
  sequenceClassification,
  type Task,
  tokenClassification,
} from "@graftml/trainer";
import { encodeRows } from "./data/encode.ts";
import { encodeImages } from "./data/pictures.ts";
import type { Records } from "./data/records.ts";
import { UsageError } from "./errors.ts";
import type { Run } from "./schema.ts";
import type { Session } from "./session.ts";

/** One row of any task. */
export type AnyExample = Example | ImageExample;

/** A task of any kind, and a run of it. */
export type AnyTask = Task<TokenBatch, AnyExample>;
export type AnyRun = TrainerRun<TokenBatch, AnyExample>;

/** What a run needs of a task. */
interface Kind {
  readonly open: (session: Session) => AnyTask;
  /** Examples of rows, made when they are first asked for. */
  readonly examples: (rows: Records, session: Session, options: { readonly told: boolean }) => Rows<AnyExample>;
}

const onTexts = (open: Kind["open"]): Kind => ({
  open,
  examples: (rows, { run, loaded }, options) => encodeRows(rows, run, loaded, options),
});

/** By name; what a task needs to know comes from the session. */
const tasks: Readonly<Record<string, Kind>> = {
  "causal-lm": onTexts(({ run }) => (run.data.pack ? packedLm : causalLm)),
  "masked-lm": onTexts(({ run, loaded: { tokenizer } }) => {
    if (tokenizer === null || tokenizer.mask === null)
      throw new UsageError(`the tokenizer of ${run.model} names no mask_token, which masked-lm hides tokens behind.`);
    return maskedLm({ mask: tokenizer.mask, special: tokenizer.special, packed: run.data.pack });
  }),
  "seq2seq-lm": onTexts(() => seq2seqLm),
  "sequence-classification": onTexts(({ run }) =>
    run.data.pack ? packedSequenceClassification : sequenceClassification,
  ),
  "token-classification": onTexts(({ run }) => tokenClassification(run.data.labels ?? [])),
  "image-classification": { open: () => imageClassification, examples: encodeImages },
};

function kindOf({ task }: Run): Kind {
  const kind = tasks[task];
  if (kind === undefined) throw new UsageError(`task: ${task} is none of ${Object.keys(tasks).join(", ")}.`);
  return kind;
}

/** The task of a run. @throws {UsageError} if the model or the data cannot be used for it. */
export function taskOf(session: Session): AnyTask {
  const { run } = session;
  const found = kindOf(run).open(session);
  if (run.data.pack && found.packed === undefined)
    throw new UsageError(
      `data.pack: several texts share a row in causal-lm, masked-lm and sequence-classification only, not in ${run.task}.`,
    );
  return found;
}

/**
 * Examples of rows, as the run's task takes them.
 * @param options.told whether they are to say how many characters their labels stand for.
 */
export const examplesFrom = (rows: Records, session: Session, options: { readonly told: boolean }): Rows<AnyExample> =>
  rows.length === 0 ? [] : kindOf(session.run).examples(rows, session, options);
