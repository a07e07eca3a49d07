/** @file What stands on a decoder: the output embedding, or a layer that judges a text by its last token. */
import type { BatchSize, TokenBatch } from "@graftml/peft";
import { add, cast, scale, shift, ShapeError, sum, type Tensor, type Trace } from "@graftml/tensor";
import { type Head, refuseShared, rowsAt } from "./heads.ts";
import { iota, linear, tokenInputs } from "./layers.ts";

/** Rate of the dropout before labels of tokens, where config.json names none. */
const TOKEN_DROPOUT = 0.1;

/** What a decoder's heads are called, and what they share. */
export interface DecoderHeads {
  /** transformers' classes begin with it: "Llama". */
  readonly name: string;
  /** transformers' class for language modelling; default `${name}ForCausalLM`. */
  readonly causal?: string;
  /** Full name of the token table's weight, if it is that of the output embedding too. */
  readonly tied: string | null;
  /** Where the layer that labels tokens stands. */
  readonly tokens: string;
  /** Rate of the dropout before labels of tokens; null: what transformers takes where config.json says nothing. */
  readonly dropout: number | null;
}

/**
 * Heads by task. Names of parameters: "lm_head", "score".
 * @see HF `GenericForSequenceClassification`, `GenericForTokenClassification`.
 */
export const decoderHeads = ({
  name,
  causal,
  tied,
  tokens,
  dropout,
}: DecoderHeads): Readonly<Record<string, Head>> => ({
  "causal-lm": {
    architecture: causal ?? `${name}ForCausalLM`,
    outputs: "tokens",
    apply: (scope, hidden, out) => {
      const weight = tied === null ? {} : { weight: tied };
      return linear(scope.at("lm_head"), hidden, { roles: ["unembed"], out, bias: false, ...weight });
    },
  },
  "sequence-classification": {
    architecture: `${name}ForSequenceClassification`,
    outputs: "labels",
    apply: (scope, hidden, out, batch) =>
      linear(scope.at("score"), lastToken(hidden, batch), { roles: ["head"], out, bias: false }),
  },
  "token-classification": {
    architecture: `${name}ForTokenClassification`,
    outputs: "labels",
    apply: (scope, hidden, out) => {
      const kept = scope.at("dropout").dropout(hidden, dropout ?? TOKEN_DROPOUT);
      return linear(scope.at(tokens), kept, { roles: ["head"], out, bias: true });
    },
  },
});

/** What a decoder reads for a task: a text is judged by its last token, so that the head must know where texts end. */
export function decoderInputs(trace: Trace, size: BatchSize, maxLength: number, head: Head): TokenBatch {
  const tokens = tokenInputs(trace, size, maxLength);
  if (head.outputs === "tokens") return tokens;
  if (size.texts !== undefined) return { ...tokens, judged: trace.input("ends", [size.texts], "i32") };
  refuseShared(size.packed);
  return { ...tokens, mask: trace.input("mask", [size.batch, size.length]) };
}

/** Hidden states of every text's last token, by the mask unless texts share rows: [B, T', D] → [texts, D]. Padding stands on the right. */
function lastToken(hidden: Tensor, { mask, judged }: TokenBatch): Tensor {
  const [B = 0, rows = 0] = hidden.shape;
  const { trace } = hidden.node;
  return trace.within("last token", () => {
    if (judged !== undefined) return rowsAt(hidden, judged);
    if (mask === null) throw new ShapeError("a text's last token cannot be told without the mask of its padding.");
    const last = shift(sum(mask, [1]), rows - (mask.shape[1] ?? 0) - 1); // [B]
    return rowsAt(hidden, cast(add(last, scale(iota(trace, B), rows)), "i32"));
  });
}
