/**
 * @file Files of a prompt as Hugging Face PEFT reads and writes them: one tensor [n, D]. For an encoder-decoder PEFT itself writes [2n, D] and uses the first half.
 * @see PEFT `peft_model.py: get_prompt_embedding_to_save`; formats recorded from version 0.21.2.
 */
import {
  type Interchange,
  type InterchangeContext,
  type JsonObject,
  type NamedValues,
  refuseRest,
  type ShapedValues,
} from "@graftml/peft";

/** What is a method's own of files that all prompts share. */
export interface PromptFiles<C> {
  readonly peftType: string;
  /** Its keys of adapter_config.json. */
  toConfig(config: C, context: InterchangeContext): JsonObject;
  /** Its part of the configuration, and the keys that it did not read. */
  fromConfig(json: JsonObject): Record<string, unknown> & { readonly rest: JsonObject };
  /** The rows [n, D] of what is owned, if they are not owned themselves. */
  fold?(owned: NamedValues): ShapedValues | null;
}

/** The tensor's name, ours and PEFT's. */
const NAME = "prompt_embeddings";

/** Files of a method that puts rows before embedded tokens. */
export const promptInterchange = <C extends { readonly tokens: number }>({
  peftType,
  toConfig,
  fromConfig,
  fold,
}: PromptFiles<C>): Interchange<C> => ({
  peftType,
  prefix: "",
  modulesPrefix: "base_model.",
  toConfig: (c, context) => ({
    num_virtual_tokens: c.tokens,
    token_dim: context.model.hidden,
    num_transformer_submodules: 1, // rows that only a second stack would have are idle in PEFT
    num_attention_heads: context.model.heads,
    num_layers: context.model.layers,
    ...toConfig(c, context),
  }),
  fromConfig(json) {
    const { rest, ...own } = fromConfig(json);
    const {
      num_virtual_tokens: tokens,
      token_dim: _width,
      num_transformer_submodules: _stacks,
      num_attention_heads: _heads,
      num_layers: _layers,
      ...others
    } = rest;
    refuseRest(peftType, others);
    return { tokens, ...own };
  },
  tensors: {
    pack(owned) {
      const rows = fold?.(owned) ?? owned.get(NAME);
      return rows === undefined ? owned : new Map([[NAME, rows]]);
    },
    unpack(file, _, { tokens }) {
      const rows = file.get(NAME);
      return rows === undefined ? file : new Map([...file, [NAME, first(rows, tokens)]]);
    },
  },
});

/** The rows that are read, where a file has as many again. What cannot be shared out stays as it is. */
function first({ shape, values }: ShapedValues, tokens: number): ShapedValues {
  const [rows = 0, ...rest] = shape;
  return rows === 2 * tokens
    ? { shape: [tokens, ...rest], values: values.slice(0, values.length / 2) }
    : { shape, values };
}
