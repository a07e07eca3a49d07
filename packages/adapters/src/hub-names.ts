/**
 * @file Where AdapterHub puts the modules of an adapter in each architecture.
 * @see AdapterHub `models/<architecture>/mixin_<architecture>.py`; names recorded from version 1.3.0.
 */
import { type Adapter, type Owned } from "@graftml/peft";

type Sublayer = "attn" | "cross" | "mlp";

/** Modules within a block, by what they are for. */
const within = (attn: string, cross: string, mlp: string) => ({ attn, cross, mlp }) as const;

/** BERT and its relatives have the adapter in the module of the sublayer's add. */
const inOutputs = within("attention.output", "crossattention.output", "output");

/** Modules within a block, for architectures that differ from the rest. */
const layouts: Readonly<Record<string, Readonly<Record<Sublayer, string>>>> = {
  bert: inOutputs,
  roberta: inOutputs,
  "xlm-roberta": inOutputs,
  electra: inOutputs,
  deberta: inOutputs,
  "deberta-v2": inOutputs,
  vit: within("attention_adapters", "cross_attention_adapters", "output.output_adapters"),
  t5: within("layer.0", "layer.1", "layer.2"),
  mt5: within("layer.0", "layer.1", "layer.2"),
};
const common = within("attention_adapters", "cross_attention_adapters", "output_adapters");

/** The module of a sublayer's adapter: "bert.encoder.layer.0.output". */
function moduleOf({ site }: Owned, type: string): string {
  const [block = site.path] = /^.*?\.\d+(?=\.|$)/.exec(site.path) ?? [];
  const role = (["attn", "cross", "mlp"] as const).find((r) => site.roles.includes(r)) ?? "mlp";
  // An encoder's block has no attention to another, so its feed-forward comes earlier.
  const early = role === "mlp" && site.path.startsWith("encoder.block.");
  // transformers 4, which AdapterHub needs, has one module more around the blocks of some.
  const before = block.replace(/^vit\.layers\./, "vit.encoder.layer.");
  return `${before}.${early ? "layer.1" : (layouts[type] ?? common)[role]}`;
}

/**
 * AdapterHub's name of an owned parameter, or null for what its files have no place for.
 * @param name the adapter's, which stands in the middle of every name.
 */
export function hubName({ id }: Adapter, owned: Owned, type: string, name: string): string | null {
  const own = owned.name.slice(id.length + 1);
  if (owned.shared)
    return `${owned.site.path.split(".")[0]}.${own.replace("invertible.", `invertible_adapters.${name}.`)}`;
  if (owned.site.kind !== "residual") return null;
  return `${moduleOf(owned, type)}.adapters.${name}.${own.slice(owned.site.path.length + 1)}`;
}

/** Parts of names as versions before 2 wrote them. */
const legacy = /\b(?:attention|layer)_text_(?:task|lang)_adapters\b/;

/** A name in a file as today's versions write it. */
export const modernName = (name: string): string =>
  name.replace(legacy, "adapters").replace("invertible_lang_adapters", "invertible_adapters");
