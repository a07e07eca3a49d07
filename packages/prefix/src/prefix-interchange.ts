/**
 * @file A prefix's files as Hugging Face PEFT reads and writes them: one tensor [n, L·2·G·E], keys before values.
 * @see PEFT `peft_model.py: get_prompt`; formats recorded from version 0.21.2.
 */
import {
  type Interchange,
  type InterchangeContext,
  type NamedValues,
  refuseRest,
  type ShapedValues,
  type Site,
  StateError,
} from "@graftml/peft";
import { show, type Values } from "@graftml/tensor";
import { denseValues } from "./mlp.ts";
import type { PrefixConfig } from "./prefix.ts";
import { stackOf } from "./stacks.ts";

/** The tensor's name. */
const NAME = "prompt_embeddings";

/** Attention sites whose prefix PEFT keeps: the text's own, and a decoder's where there are two stacks. */
const attentions = ({ sites, model }: InterchangeContext): readonly Site[] =>
  sites.filter((s) => s.kind === "attention" && stackOf(s, model) === "decoder");

/** Width of a row of keys: G·E. */
const widthOf = ({ model }: InterchangeContext): number => model.keyHeads * model.headWidth;

/** A prefix as PEFT's `PrefixTuningConfig` and its tensor. What it was trained through is folded away. */
export const interchange: Interchange<PrefixConfig> = {
  peftType: "PREFIX_TUNING",
  prefix: "",
  modulesPrefix: "base_model.",
  // PEFT lays the prefix of an encoder-decoder out twice and deals it out anew: its blocks share what they should own.
  holds: (_, { model }) => model.decoderStart === undefined,
  toConfig: (c, context) => ({
    num_virtual_tokens: c.tokens,
    token_dim: widthOf(context),
    num_attention_heads: context.model.keyHeads,
    num_layers: attentions(context).length,
    num_transformer_submodules: 1,
    encoder_hidden_size: c.reparameterize ?? widthOf(context),
    prefix_projection: false,
    init_weights: c.init === "zero" ? "zero" : null,
  }),
  fromConfig({ num_virtual_tokens: tokens, init_weights: init, ...rest }) {
    const {
      token_dim: _width,
      num_attention_heads: _heads,
      num_layers: _layers,
      num_transformer_submodules: _stacks,
      encoder_hidden_size: _hidden,
      prefix_projection: _projected, // only while training: the tensor is what came out
      ...others
    } = rest;
    refuseRest("prefix", others);
    return { tokens, ...(init === "zero" && { init }) };
  },
  tensors: {
    pack(owned, context) {
      const parts = attentions(context).flatMap((site) => partsAt(site, owned));
      return parts.length === 0 ? owned : new Map([[NAME, sideBySide(parts)]]);
    },
    unpack(file, context) {
      const { [NAME]: flat, ...others } = Object.fromEntries(file);
      if (flat === undefined) return file;
      const sites = attentions(context);
      const read = cut(flat, sites);
      const stacks = context.model.decoderStart === undefined ? 1 : 2;
      // Of keys and values written twice, one after the other, PEFT gives every block of a decoder four: its own two are
      // those of block 2i, counted round and round.
      const parts = sites.flatMap(({ path }, i) =>
        ["prefix_key", "prefix_value"].flatMap((part, half): readonly (readonly [string, ShapedValues])[] => {
          const value = read[(2 * stacks * i + half) % read.length];
          return value === undefined ? [] : [[`${path}.${part}`, value]];
        }),
      );
      return new Map([...Object.entries(others), ...parts]);
    },
  },
};

/** Keys and values of one attention, beside each other or in one piece. */
function partsAt({ path }: Site, owned: NamedValues): readonly ShapedValues[] {
  const plain = ["prefix_key", "prefix_value"].flatMap((part) => owned.get(`${path}.${part}`) ?? []);
  const embedding = owned.get("prefix.decoder.embedding.weight");
  if (plain.length > 0 || embedding === undefined) return plain;
  const hidden = denseValues(embedding, owned, "prefix.decoder.transform.0", Math.tanh);
  return [(hidden && denseValues(hidden, owned, `${path}.transform.2`)) ?? []].flat();
}

const blank = (like: Values | undefined, size: number): Values =>
  like instanceof Float32Array ? new Float32Array(size) : new Float64Array(size);

/** Matrices of as many rows as one. */
function sideBySide(parts: readonly ShapedValues[]): ShapedValues {
  const [rows = 0] = parts[0]?.shape ?? [];
  const width = parts.reduce((sum, { shape }) => sum + (shape[1] ?? 0), 0);
  const values = blank(parts[0]?.values, rows * width);
  let from = 0;
  for (const { shape, values: part } of parts) {
    const [, columns = 0] = shape;
    for (let row = 0; row < rows; row++)
      values.set(part.subarray(row * columns, (row + 1) * columns), row * width + from);
    from += columns;
  }
  return { shape: [rows, width], values };
}

/** Its columns: keys and values of each site. @throws {StateError} if there are not as many. */
function cut({ shape, values }: ShapedValues, sites: readonly Site[]): readonly ShapedValues[] {
  const [rows = 0, width = 0] = shape;
  const widths = sites.flatMap((s) => [s.in * s.out, s.in * s.out]);
  const wanted = widths.reduce((sum, columns) => sum + columns, 0);
  if (shape.length !== 2 || width !== wanted)
    throw new StateError(
      `the state does not fit prefix on this model. wrong shape: ${NAME} is ${show(shape)}, ${sites.length} attentions want [tokens, ${wanted}].`,
    );
  let from = 0;
  return widths.map((columns) => {
    const part = blank(values, rows * columns);
    for (let row = 0; row < rows; row++)
      part.set(values.subarray(row * width + from, row * width + from + columns), row * columns);
    from += columns;
    return { shape: [rows, columns], values: part };
  });
}
