/** @file What stands on a decoder: the output embedding, or a layer that judges a text by its last token. */
import type { BatchSize, TokenBatch } from "@graftml/peft";
import { add, cast, gather, reshape, scale, shift, ShapeError, sum, type Tensor, type Trace } from "@graftml/tensor";
import type { Head } from "./heads.ts";
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
  if (size.packed === true)
    throw new ShapeError("texts that are judged one by one cannot share a row; turn packing off.");
  return { ...tokens, mask: trace.input("mask", [size.batch, size.length]) };
}

/** Hidden states of every row's last token, by the mask: [B, T', D] → [B, D]. Padding stands on the right. */
function lastToken(hidden: Tensor, { mask }: TokenBatch): Tensor {
  const [B = 0, rows = 0, D = 0] = hidden.shape;
  if (mask === null) throw new ShapeError("a text's last token cannot be told without the mask of its padding.");
  const { trace } = hidden.node;
  return trace.within("last token", () => {
    const last = shift(sum(mask, [1]), rows - (mask.shape[1] ?? 0) - 1); // [B]
    const at = cast(add(last, scale(iota(trace, B), rows)), "i32"); // among B·T' rows
    return gather(reshape(hidden, [B * rows, D]), at);
  });
}
