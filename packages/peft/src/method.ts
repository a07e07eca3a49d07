/** @file What a method is: a configuration and the wraps it makes. */
import type { DType, Shape, Tensor } from "@graftml/tensor";
import type { z } from "zod";
import { ConfigError } from "./errors.ts";
import type { Init } from "./init.ts";
import type { Interchange } from "./interchange.ts";
import type { Model, ModelInfo } from "./model.ts";
import type { Between } from "./pause.ts";
import type { Progress } from "./progress.ts";
import type { Kind, Kinds, Next, Site } from "./site.ts";
import type { AnyMethod, Loaded } from "./state.ts";
import { nearest, type Target } from "./target.ts";

/** Version of this contract; a method says which it speaks. */
export const CONTRACT = 1;

/** Acts before, after, around or instead of `next`. */
export type Wrap<K extends Kind> = (input: Kinds[K]["input"], next: Next<K>, here: Here<K>) => Kinds[K]["output"];

/** A wrap and the sites it is for. */
export interface Attachment<K extends Kind> {
  readonly at: Target;
  /** Sites of `at` to leave out. */
  readonly exclude?: Target;
  /** What the configuration names besides: each must name a site of `at`, or the user has misspelt it. */
  readonly mentions?: readonly Mention[];
  /** Whether a model may have no such sites (no `positions` where they are relative); default false. */
  readonly optional?: boolean;
  readonly wrap: Wrap<K>;
}

/** Part of a configuration that is meant for certain sites. */
export interface Mention {
  /** In words, for the message: `rank_pattern "up_proj"`. */
  readonly what: string;
  readonly at: Target;
}

/** Weights of a linear: [out, in] and [out]. */
export interface LinearWeights {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

export interface LinearAttachment extends Attachment<"linear"> {
  /** The same change, made to the weights. Present if and only if it can be folded in. */
  readonly merge?: (weights: LinearWeights, here: Here<"linear">) => LinearWeights;
}

export interface EmbeddingAttachment extends Attachment<"embedding"> {
  /** The same change, made to the table [V, D]. Present if and only if it can be folded in. */
  readonly merge?: (table: Tensor, here: Here<"embedding">) => Tensor;
}

/** What a configured method does to a model: at most one attachment of each kind. */
export type Adaptation = { readonly [K in Exclude<Kind, "linear" | "embedding">]?: Attachment<K> } & {
  readonly linear?: LinearAttachment;
  readonly embedding?: EmbeddingAttachment;
};

export interface OwnOptions {
  /** Default true. */
  readonly trainable?: boolean;
  /**
   * Whether it is saved; default true. False: derivable from base and config (codes of a quantised weight). "run": only in
   * checkpoints, which a run needs to go on (statistics of its gradients).
   */
  readonly persist?: boolean | "run";
  /** One for the whole adapter instead of one a site; default false. */
  readonly shared?: boolean;
  /** Factor on the learning rate; default 1. */
  readonly lrScale?: number;
  /** Whether weight decay applies; default true, as in torch's AdamW over all parameters. */
  readonly decay?: boolean;
  /** Default f32; trainable parameters are always f32. */
  readonly dtype?: DType;
}

/** What a wrap can do besides arithmetic. Everything is declared where it is used. */
export interface Here<K extends Kind = Kind> {
  readonly site: Site<K>;
  readonly model: ModelInfo;
  /** Whether this is a training pass: dropout acts, gates are noisy. */
  readonly train: boolean;
  /**
   * A parameter this method owns, named by adapter, site and `name`; one that stands for the site itself (a trained copy of
   * a base parameter) has the name "". The same name twice is the same tensor.
   */
  own(name: string, shape: Shape, init: Init, options?: OwnOptions): Tensor;
  /** Adds a scalar to the training loss. */
  penalize(term: Tensor): void;
  /** A scalar computed on the host at every step: a temperature, a schedule. */
  scalar(name: string, at: (progress: Progress) => number): Tensor;
  /** Uniform noise in (0, 1): a pure function of seed, step, site and name. */
  uniform(name: string, shape: Shape): Tensor;
  /** `linear`: the weight [out, in] as inner methods left it; `embedding`: the table [in, out] likewise. */
  weight(): Tensor;
  /** `linear`: the bias likewise, or null. */
  bias(): Tensor | null;
}

/** Making one adapter of several. */
export interface Combining {
  /** Its keys, with defaults, ranges and descriptions. */
  readonly options: z.ZodObject;
  /**
   * @param method the one whose adapters these are, as its package exports it.
   * @param options as `options` parses them.
   * @throws {ConfigError} for adapters that cannot be combined, or not in that way.
   */
  combine<Batch>(
    method: AnyMethod,
    model: Model<Batch>,
    adapters: readonly Loaded[],
    weights: readonly number[],
    options: Readonly<Record<string, unknown>>,
  ): Loaded;
}

/**
 * The three ways to train few parameters, with a fourth for what trains none.
 * @see Lialin et al. 2023, https://arxiv.org/abs/2303.15647, §3; Ding et al. 2023, Nature Machine Intelligence 5.
 */
export type Group = "specification" | "addition" | "reparameterization" | "storage";

/** A fine-tuning method. */
export interface Method<C> {
  /** The version of the contract it speaks. */
  readonly contract: typeof CONTRACT;
  /** "lora": its name in run files, in the CLI and in saved files. */
  readonly name: string;
  /** Whether it chooses parameters that are there, adds new ones, or writes a change of them in other terms. */
  readonly group: Group;
  /** Paper or primary reference. */
  readonly source: string;
  /** Defaults, ranges and descriptions of its keys; what it parses to is C. */
  readonly config: z.ZodObject;
  adapt(config: C): Adaptation;
  /**
   * Whether the task's own head (parameters of role "head") is trained and saved beside it; default true. False for a method
   * that says itself which parameters of the base are trained.
   */
  heads?(config: C): boolean;
  /**
   * Whether it only changes how the base is stored (in four bits): files of an adapter then do not mention it, and whoever
   * loads the adapter chooses the base's storage anew. Default false.
   */
  readonly storesBase?: boolean;
  /** What it does on the host between steps, if anything. */
  between?(config: C): Between;
  /** How several of its adapters are made into one, if they can be. */
  readonly combining?: Combining;
  /** How its files look in Hugging Face PEFT; without it they carry `peft_type` "GRAFT_" and the name. */
  readonly interchange?: Interchange<C>;
}

/** A method with its configuration. */
export interface Adapted {
  readonly name: string;
  readonly config: unknown;
  readonly adaptation: Adaptation;
  /** Whether the task's head is trained beside it. */
  readonly heads: boolean;
  readonly between?: Between;
  readonly method: Method<never>;
}

/** A method as its package exports it: call it to configure it. */
export interface Configurable<C, Input> {
  (config?: Input): Adapted;
  readonly method: Method<C>;
}

/**
 * Makes a method from its description: `lora({ rank: 16 })` then validates and fills in defaults.
 * @throws {ConfigError} from the returned function, naming the key, what was expected and the nearest known key.
 */
export function defineMethod<S extends z.ZodObject>(
  description: Omit<Method<z.output<S>>, "config"> & { readonly config: S },
): Configurable<z.output<S>, z.input<S>> {
  const method: Method<z.output<S>> = description;
  const configure = (input?: z.input<S>): Adapted => {
    const config = parseConfig(description.name, description.config, input ?? {});
    const heads = description.heads?.(config) ?? true;
    const between = description.between?.(config);
    const adaptation = description.adapt(config);
    return { name: description.name, config, adaptation, heads, ...(between && { between }), method };
  };
  return Object.assign(configure, { method });
}

/** Validates a configuration strictly: unknown keys are errors that name the nearest known one. */
export function parseConfig<S extends z.ZodObject>(name: string, schema: S, input: unknown): z.output<S> {
  const result = schema.strict().safeParse(input);
  if (result.success) return result.data as z.output<S>; // strict() changes what is refused, not what is returned
  const known = Object.keys(schema.shape);
  const lines = result.error.issues.map((issue) => {
    const path = [name, ...issue.path].join(".");
    if (issue.code !== "unrecognized_keys") return `${path}: ${issue.message}`;
    return issue.keys
      .map((key) => {
        const near = nearest(key, known);
        return `${path}: unknown key "${key}".${near === undefined ? ` Known keys: ${known.join(", ")}.` : ` Did you mean "${near}"?`}`;
      })
      .join("\n");
  });
  throw new ConfigError(lines.join("\n"));
}
