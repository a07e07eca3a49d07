/** @file What can be chosen of a bottleneck adapter, and what it means at one sublayer. */
import { ConfigError, type Mention, type ModelInfo, type Site, z } from "@graftml/peft";
import { geluErf, gelu, maximum, mul, relu, scale, sigmoid, silu, tanh, type Tensor } from "@graftml/tensor";

/** Activation functions by Hugging Face's names. */
export const activations = {
  relu,
  gelu: geluErf,
  gelu_new: gelu,
  quick_gelu: (x) => mul(x, sigmoid(scale(x, 1.702))),
  swish: silu,
  silu,
  tanh,
  sigmoid,
  leakyrelu: (x) => maximum(x, scale(x, 0.01)),
} as const satisfies Readonly<Record<string, (x: Tensor) => Tensor>>;

/** How weights start; biases start at zero. */
const starts = ["bert", "houlsby", "mam"] as const;

const factor = z.number().positive();

const sublayers = ["attn", "cross", "mlp"] as const;

/** What the three methods differ in where nothing is said. */
interface Defaults {
  readonly activation: keyof typeof activations;
  readonly scaling: number;
  readonly init: (typeof starts)[number];
  readonly at: readonly (typeof sublayers)[number][];
  readonly train_norms: boolean;
  /** The bottleneck's width, for the description. */
  readonly width: string;
}

/** Keys of a bottleneck adapter, with AdapterHub's names where they differ. */
export const keys = ({ activation, scaling, init, at, train_norms, width }: Defaults) =>
  z.object({
    reduction: z
      .union([factor, z.record(z.string().regex(/^(?:\d+|default)$/), factor)])
      .nullable()
      .default(null)
      .describe(
        `The hidden width is divided by this, for all blocks or by their numbers with a \`default\`; AdapterHub's \`reduction_factor\`. null: ${width}.`,
      ),
    size: z.int().min(1).nullable().default(null).describe("Width of the bottleneck, instead of `reduction`."),
    activation: z
      .enum(Object.keys(activations) as [keyof typeof activations]) // an object's keys, of which there is one at least
      .default(activation)
      .describe("Between the two maps; AdapterHub's `non_linearity`."),
    scaling: z
      .union([z.number(), z.enum(["learned", "channel"])])
      .default(scaling)
      .describe("The adapter's output is multiplied by this, by a learned number, or by one learned for each channel."),
    dropout: z.number().min(0).lt(1).default(0).describe("Dropout on the adapter's output, while training."),
    init: z
      .enum(starts)
      .default(init)
      .describe(
        "Start of the weights: `bert` is normal with deviation 0.02, `houlsby` the same with 0.001, cut at two deviations, `mam` uniform within ±1/√in below and zero above.",
      ),
    leave_out: z
      .array(z.int().min(0))
      .default([])
      .describe(
        "Blocks without adapters; a decoder's count on from its encoder's. All of them, if `invertible` is to stand alone.",
      ),
    at: z
      .array(z.enum(sublayers))
      .min(1)
      .default([...at])
      .describe("Sublayers with an adapter: `attn`, `cross` (attention to an encoder), `mlp`."),
    train_norms: z.boolean().default(train_norms).describe("Train the gains and offsets of all norms too."),
    invertible: z
      .union([
        z.literal(false),
        z.object({ reduction: factor.default(2).describe("Half of the hidden width is divided by this.") }),
      ])
      .default(false)
      .describe("An invertible adapter after the embeddings, undone before the output embedding."),
  });

/** A bottleneck adapter's configuration with every default filled in. */
export type AdapterConfig = z.output<ReturnType<typeof keys>>;

/** A block's number as AdapterHub counts: a decoder's go on from its encoder's. */
const blockOf = ({ path, layer }: Site, model: ModelInfo): number | null =>
  layer !== null && model.decoderStart !== undefined && path.startsWith("decoder.") ? layer + model.layers : layer;

/** Whether a block has no adapters. */
export const leftOut = ({ leave_out }: AdapterConfig, site: Site, model: ModelInfo): boolean =>
  leave_out.includes(blockOf(site, model) ?? -1);

/** The bottleneck's width where the configuration says nothing: the paper's, and AdapterHub's. */
export const widths = { houlsby: { size: 64 }, pfeiffer: { reduction: 16 }, parallel: { reduction: 2 } } as const;

/** What says how wide a bottleneck is. */
export type Width = Pick<AdapterConfig, "size" | "reduction">;

/**
 * Width of the bottleneck at a site: the hidden width over the reduction, rounded down as Python does, at least 1.
 * @throws {ConfigError} if both a size and a reduction are given, or a map of reductions has nothing for the block.
 */
export function widthAt({ size, reduction }: Width, site: Site, model: ModelInfo): number {
  if (size !== null && reduction !== null)
    throw new ConfigError(`an adapter's size and its reduction are two ways to say one thing; give one of them.`);
  if (size !== null) return size;
  const block = String(blockOf(site, model));
  const by = typeof reduction === "object" ? (reduction?.[block] ?? reduction?.["default"]) : reduction;
  if (by === undefined)
    throw new ConfigError(`reduction says nothing of block ${block}; give it a number, or a "default".`);
  return Math.max(1, Math.round((model.hidden - (model.hidden % by)) / by));
}

/** The width as given, or the method's own. */
export const widthOf = ({ size, reduction }: AdapterConfig, otherwise: Partial<Width>): Width =>
  size === null && reduction === null ? { size: null, reduction: null, ...otherwise } : { size, reduction };

/** Blocks that the configuration names. */
export function mentions({ leave_out, reduction }: AdapterConfig): Mention[] {
  const numbered = typeof reduction === "object" ? Object.keys(reduction ?? {}).filter((key) => key !== "default") : [];
  const block = (what: string, number: number): Mention => ({
    what: `${what} ${number}`,
    at: (site, model) => blockOf(site, model) === number,
  });
  return [
    ...leave_out.map((number) => block("leave_out", number)),
    ...numbered.map((number) => block("reduction", Number(number))),
  ];
}
