/**
 * @file Files of a prompt as Hugging Face PEFT reads and writes them: one tensor [n, D], twice as high for encoder-decoders.
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

/** How many stacks PEFT keeps rows for. Of an encoder-decoder only the encoder reads them; the second half is idle. */
const submodules = ({ model }: InterchangeContext): number => (model.decoderStart === undefined ? 1 : 2);

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
    num_transformer_submodules: submodules(context),
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
    pack(owned, context) {
      const rows = fold?.(owned) ?? owned.get(NAME);
      return rows === undefined ? owned : new Map([[NAME, higher(rows, submodules(context))]]);
    },
    unpack(file, context) {
      const rows = file.get(NAME);
      return rows === undefined ? file : new Map([...file, [NAME, lower(rows, submodules(context))]]);
    },
  },
});

/** Rows, and as many zeros for every further stack. */
function higher({ shape, values }: ShapedValues, times: number): ShapedValues {
  const [rows = 0, ...rest] = shape;
  if (times === 1) return { shape, values };
  const all =
    values instanceof Float32Array ? new Float32Array(times * values.length) : new Float64Array(times * values.length);
  all.set(values);
  return { shape: [times * rows, ...rest], values: all };
}

/** The first of several stacks' rows; what cannot be shared out stays as it is. */
function lower({ shape, values }: ShapedValues, times: number): ShapedValues {
  const [rows = 0, ...rest] = shape;
  if (rows % times > 0) return { shape, values };
  return { shape: [rows / times, ...rest], values: values.slice(0, values.length / times) };
}
