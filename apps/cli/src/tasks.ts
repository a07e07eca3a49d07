/** @file The tasks that run files name, as the trainer has them. */
import type { TokenBatch } from "@graftml/peft";
import {
  causalLm,
  type Example,
  imageClassification,
  type ImageExample,
  maskedLm,
  packedLm,
  type Run as TrainerRun,
  seq2seqLm,
  sequenceClassification,
  type Task,
  tokenClassification,
} from "@graftml/trainer";
import { UsageError } from "./errors.ts";
import type { Session } from "./session.ts";

/** One row of any task. */
export type AnyExample = Example | ImageExample;

/** A task of any kind, and a run of it. */
export type AnyTask = Task<TokenBatch, AnyExample>;
export type AnyRun = TrainerRun<TokenBatch, AnyExample>;

/** By name; what a task needs to know comes from the session. */
const tasks: Readonly<Record<string, (session: Session) => AnyTask>> = {
  "causal-lm": ({ run }) => (run.data.pack ? packedLm : causalLm),
  "masked-lm": ({ run, loaded: { tokenizer } }) => {
    if (tokenizer === null || tokenizer.mask === null)
      throw new UsageError(`the tokenizer of ${run.model} names no mask_token, which masked-lm hides tokens behind.`);
    return maskedLm({ mask: tokenizer.mask, special: tokenizer.special });
  },
  "seq2seq-lm": () => seq2seqLm,
  "sequence-classification": () => sequenceClassification,
  "token-classification": ({ run }) => tokenClassification(run.data.labels ?? []),
  "image-classification": () => imageClassification,
};

/** The task of a run. */
export function taskOf(session: Session): AnyTask {
  const { task, data } = session.run;
  const open = tasks[task];
  if (open === undefined) throw new UsageError(`task: ${task} is none of ${Object.keys(tasks).join(", ")}.`);
  const found = open(session);
  if (data.pack && found.packed !== true)
    throw new UsageError(`data.pack: several texts share a row in causal-lm only, not in ${task}.`);
  return found;
}
