/** @file Heads: what turns hidden states into the logits of a task, and how many outputs it has. */
import { ConfigError, type JsonObject, type Scope, type TokenBatch } from "@graftml/peft";
import { add, gather, reshape, ShapeError, slice, type Tensor } from "@graftml/tensor";
import { z } from "zod";
import { only, readConfig, size } from "./config.ts";
import { type BuildOptions, headFor } from "./family.ts";
import { layer, layerNorm, linear } from "./layers.ts";

/** What stands on a body for a task. */
export interface Head {
  /** transformers' class of a model with it: "BertForMaskedLM". */
  readonly architecture: string;
  /** What its outputs stand for. */
  readonly outputs: "labels" | "tokens";
  /** Hidden states → logits; `outputs` is the number of labels, or of tokens. */
  apply(scope: Scope, hidden: Tensor, outputs: number, batch: TokenBatch): Tensor;
}

/** `problem_type` of a model whose texts may have several labels. */
const MULTI_LABEL = "multi_label_classification";

/** The task in which a text may have several labels. */
const JUDGING = "sequence-classification";

const labelKeys = z.object({
  id2label: z.record(z.string(), z.unknown()).nullish(),
  num_labels: size.nullish(),
  problem_type: only("single_label_classification", "regression", MULTI_LABEL),
});

/** Labels of a model whose config.json names none. */
const DEFAULT_LABELS = 2;

/** A head chosen for a task. */
export interface ChosenHead {
  readonly head: Head;
  /** Its labels; 0 where it predicts tokens. */
  readonly labels: number;
  /** config.json with these labels. */
  readonly config: JsonObject;
}

/**
 * The head that a family has for a task, with the labels that are told, or else those of config.json. One label is
 * regression, unless a text may have several.
 * @throws {ConfigError} naming the task and those that the family has a head for, or that has no text with several labels.
 * @throws {StateError} if config.json wants what the head does not do.
 */
export function chooseHead(
  heads: Readonly<Record<string, Head>>,
  type: string,
  json: JsonObject,
  options: BuildOptions,
): ChosenHead {
  const head = headFor(heads, type, options);
  if (head.outputs === "tokens") return { head, labels: 0, config: json };
  const { id2label, num_labels, problem_type } = readConfig(labelKeys, json, options.file);
  const named = id2label == null ? num_labels : Object.keys(id2label).length;
  const [count, told] = typeof options.labels === "number" ? [options.labels, null] : [named, options.labels];
  const labels = told?.length ?? count ?? DEFAULT_LABELS;
  const config = told === null && labels === named ? json : withLabels(json, told ?? placeholders(labels));
  if (options.multiLabel === true && options.task !== JUDGING)
    throw new ConfigError(`${options.file}: several labels can be had in ${JUDGING} only, not in ${options.task}.`);
  if (options.multiLabel ?? (problem_type === MULTI_LABEL && options.task === JUDGING))
    return { head, labels, config: { ...config, problem_type: MULTI_LABEL } };
  const kind = labels === 1 ? "regression" : "single_label_classification";
  readConfig(z.object({ problem_type: only(kind) }), json, options.file);
  return { head, labels, config };
}

/** transformers' names of labels that have none. */
const placeholders = (labels: number): readonly string[] => Array.from({ length: labels }, (_, i) => `LABEL_${i}`);

/** config.json with labels of these names. */
function withLabels(json: JsonObject, names: readonly string[]): JsonObject {
  const { num_labels: _, ...config } = json;
  return {
    ...config,
    id2label: Object.fromEntries(names.map((name, i) => [String(i), name])),
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
  };
}

/** A task's own output layer: it starts from random values and is trained with every method. [..., D] → [..., labels] */
export const classifier = (s: Scope, h: Tensor, labels: number): Tensor =>
  linear(s, h, { roles: ["head"], out: labels, bias: true });

/** The first row of every text: its first token, or what a method put before it. [B, T', D] → [texts, D] */
export function firstRow(h: Tensor, { judged, packed }: TokenBatch): Tensor {
  if (judged === undefined) refuseShared(packed);
  const [B = 0, , D = 0] = h.shape;
  return h.node.trace.within("first row", () =>
    judged === undefined ? reshape(slice(h, 1, 0, 1), [B, D]) : rowsAt(h, judged),
  );
}

/** @throws {ShapeError} if texts share a row and it is not told how many: they are judged one by one. */
export function refuseShared(packed: boolean | undefined): void {
  if (packed === true)
    throw new ShapeError(
      "texts that share a row are judged one by one: say how many there are (texts), or turn packing off.",
    );
}

/** Rows of hidden states by their numbers: [B, T, D], i32 [N] → [N, D] */
export function rowsAt(h: Tensor, numbers: Tensor): Tensor {
  const [B = 0, T = 0, D = 0] = h.shape;
  return gather(reshape(h, [B * T, D]), numbers);
}

/** A head that predicts tokens: where its parts stand. */
export interface TokenHead {
  /** The dense layer and the norm of the transform before the output embedding. */
  readonly dense: string;
  readonly norm: string;
  readonly eps: number;
  activation(x: Tensor): Tensor;
  /** The output embedding, its tokens, and the token table's weight if it shares that. */
  readonly decoder: string;
  readonly vocabulary: number;
  readonly tied: string | null;
  /** Full name of the offset of every token. */
  readonly bias: string;
}

/** logits = norm(activation(dense(h))) Eᵀ + b, as masked tokens are predicted. [..., D] → [..., V] @see Devlin et al. 2019 */
export function tokenLogits(scope: Scope, hidden: Tensor, p: TokenHead): Tensor {
  const out = hidden.shape.at(-1) ?? 0;
  const h = layer(scope.at(p.norm), "unembed", hidden, (x) => {
    const mixed = linear(scope.at(p.dense), x, { roles: ["transform"], out, bias: true });
    return layerNorm(scope.at(p.norm), p.activation(mixed), p.eps, "transform");
  });
  const weight = p.tied === null ? {} : { weight: p.tied };
  const logits = linear(scope.at(p.decoder), h, { roles: ["unembed"], out: p.vocabulary, bias: false, ...weight });
  // Where the table is shared, the offset has a name of its own.
  const offset = scope.param(p.bias, [p.vocabulary], ["bias", "unembed"]);
  return scope.trace.within(p.decoder, () => add(logits, offset));
}
