/** @file The schema of a run file: keys, types, defaults and what they mean. Help texts and messages come from it. */
import { optimizers, schedules, textMetrics } from "@graftml/trainer";
import { z } from "zod";
import { layoutsOf } from "./data/columns.ts";
import type { Part } from "./data/row.ts";

const files = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const column = z.union([z.string(), z.int().min(0)]);
const count = z.int().min(0);
const size = z.int().positive();
const nameIn = <K extends string>(known: Readonly<Record<K, unknown>>) => z.enum(Object.keys(known) as K[]); // its own keys

const startSchema = z.strictObject({
  path: z.string().min(1).describe("folder of a saved adapter"),
  frozen: z.boolean().default(false).describe("whether it stays as it is"),
  inside: z.boolean().default(false).describe("whether the run's methods lie around it instead of inside it"),
});

const dataSchema = z.strictObject({
  train: files
    .optional()
    .describe(
      ".jsonl .json .csv .tsv .parquet .txt .conllu .conll, a folder of images, a data set on the Hub, or a list of them",
    ),
  eval: files.optional().describe("held-out data, likewise"),
  eval_rows: size.optional().describe("use the first so many of them; by default all"),
  columns: z
    .strictObject({
      text: column,
      pair: column,
      label: column,
      prompt: column,
      completion: column,
      messages: column,
      source: column,
      target: column,
      tokens: column,
      tags: column,
      image: column,
    } satisfies Readonly<Record<Part, z.ZodType>>)
    .partial()
    .optional()
    .describe(
      "which column plays which part: text | prompt, completion | messages | source, target | text, pair, label | tokens, tags | image, label; a name, or a number from 0 in a file without a header; by default those called so",
    ),
  max_length: size.default(128).describe("tokens of a row, special ones included; what is longer is cut at the end"),
  labels: z
    .array(z.union([z.string(), z.number().transform(String)]))
    .min(1)
    .optional()
    .describe(
      "the classes in the order of their numbers, one alone for a score; by default the model's, or those in data.train",
    ),
  multi_label: z
    .boolean()
    .optional()
    .describe(
      "whether a text may have several classes; by default if data.train has lists of them, or the model says so",
    ),
  shuffle: z.boolean().default(true).describe("false: file order, epoch after epoch"),
  bucket: z.boolean().default(false).describe("rows of like length share a batch: less padding"),
  pack: z
    .boolean()
    .default(false)
    .describe(
      "several short texts share a row, each seen by itself only (causal-lm, masked-lm, sequence-classification)",
    ),
  metrics: z
    .array(nameIn(textMetrics))
    .default([])
    .describe(
      `figures of what is written for held-out rows, besides those of the task: ${Object.keys(textMetrics).join(", ")}`,
    ),
});

const trainSchema = z.strictObject({
  steps: size.optional().describe("optimizer steps; 300 unless epochs are given"),
  epochs: z.number().positive().optional().describe("passes over the data, instead of steps"),
  batch_size: size.default(8).describe("rows of a forward pass"),
  accumulate: size.default(1).describe("forward passes of an optimizer step"),
  optimizer: nameIn(optimizers)
    .default("adamw")
    .describe(`one of ${Object.keys(optimizers).join(", ")}`),
  lr: z.number().min(0).default(1e-3).describe("learning rate"),
  betas: z
    .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
    .default([0.9, 0.999])
    .describe("how AdamW's moments decay"),
  eps: z.number().positive().default(1e-8).describe("added to the root that AdamW divides by"),
  weight_decay: z.number().min(0).default(0).describe("decoupled"),
  schedule: nameIn(schedules)
    .default("constant")
    .describe(`one of ${Object.keys(schedules).join(", ")}`),
  warmup: count.default(0).describe("steps over which the learning rate rises"),
  max_grad_norm: z.number().min(0).default(1).describe("global norm over all trainables; 0: off"),
  seed: count.default(0).describe("decides the order of rows, starting values and all noise"),
  precision: z
    .enum(["f32", "f16", "bf16"])
    .default("f32")
    .describe(
      "what linear layers read their input in, f32 or f16; sums, gradients and all else are f32. bf16 is taken as f32",
    ),
  device_memory: z
    .union([
      z.literal("auto"),
      size,
      z.string().regex(/^\d+(\.\d+)?\s*[kMGT]?i?B$/, 'wants auto, a number of bytes, or a size such as "2GB"'),
    ])
    .default("auto")
    .describe('cap in bytes or as "2GB"; auto: 80 % of free memory on a software adapter, none elsewhere'),
  checkpoint_activations: z.boolean().default(false).describe("compute blocks twice, keep less"),
  offload_activations: z
    .boolean()
    .default(false)
    .describe("what is kept of blocks for that waits in the host's memory; changes no bit"),
  paged_optimizer: z
    .boolean()
    .default(false)
    .describe("what the optimizer remembers goes to the host where a batch does not fit beside it; changes no bit"),
  eval_every: count.default(0).describe("steps between evaluations; 0: at the end"),
  save_every: count.default(0).describe("steps between checkpoints; 0: only when interrupted"),
});

/** `full`, or `lora: { rank: 8 }`, as a member of `methods` has it. */
const named = (given: unknown): unknown => {
  if (typeof given === "string") return { name: given };
  const [pair, other] = typeof given === "object" && given !== null ? Object.entries(given) : [];
  if (pair === undefined || other !== undefined || pair[0] === "name") return given;
  const [name, keys] = pair as [string, unknown]; // entries of an object
  return typeof keys === "object" ? { ...keys, name } : given;
};

const compareSchema = z.strictObject({
  methods: z
    .array(
      z.preprocess(
        named,
        z.looseObject({
          name: z.string().min(1),
          title: z.string().min(1).optional(),
          lr: z.union([z.number().positive(), z.array(z.number().positive()).min(1)]).optional(),
          each: z.array(z.looseObject({})).min(1).optional(),
        }),
      ),
    )
    .min(1)
    .optional()
    .describe(
      "what `graft compare` trains in turn: names, or names with keys, a `title`, a learning rate `lr` or a list to try, and `each`, a list of keys that makes a row of each",
    ),
  seeds: z.array(count).min(1).optional().describe("every method is trained from each; by default train.seed alone"),
  lrs: z.array(z.number().positive()).min(1).optional().describe("learning rates to try where a method names none"),
  tries: size.optional().describe("steps that each of several learning rates is tried for; by default a quarter"),
});

/** What a comparison is of. */
export type Compared = z.output<typeof compareSchema> & {
  readonly methods: NonNullable<z.output<typeof compareSchema>["methods"]>;
};

/** A run file. */
export const runSchema = z.strictObject({
  model: z.string().min(1).describe("a folder in Hugging Face layout, or a name on the Hub: org/name[@revision]"),
  init: z
    .enum(["pretrained", "random"])
    .default("pretrained")
    .describe("random: weights drawn from config.json's rules"),
  weights: z.enum(["auto", "f32", "f16"]).default("auto").describe("storage of frozen weights; auto: as stored"),
  model_dropout: z
    .union([z.literal("config"), z.number().min(0).lt(1)])
    .default("config")
    .describe("the model's own dropouts: as in config.json, or a rate; 0 turns them off"),
  task: nameIn(layoutsOf)
    .default("causal-lm")
    .describe(`one of ${Object.keys(layoutsOf).join(", ")}`),
  methods: z
    .array(z.looseObject({ name: z.string().min(1) }))
    .default([])
    .describe("innermost first; each has its own keys: see `graft methods`"),
  adapter: z
    .union([z.string().min(1), startSchema, z.array(startSchema).min(1)])
    .optional()
    .describe(
      "a saved adapter to start from, instead of methods or outside of them; a list of { path, frozen, inside } stacks, innermost first",
    ),
  data: dataSchema.prefault({}),
  train: trainSchema.prefault({}),
  compare: compareSchema.optional().describe("what `graft compare` trains"),
  out: z.string().min(1).optional().describe("folder for what the run writes"),
  made_with: z.record(z.string(), z.string()).optional().describe("written by a run, ignored when read"),
});

/** A run file with every default filled in. Paths are as given. */
export type Run = z.output<typeof runSchema>;

/** Steps of a run that names neither steps nor epochs. */
export const DEFAULT_STEPS = 300;

/** One key of the schema, for help texts. */
export interface KeyDoc {
  readonly key: string;
  readonly default: unknown;
  readonly description: string;
}

/** Keys of an object's schema, those of objects inside it included. */
export function keysOf(schema: z.ZodObject, prefix = ""): readonly KeyDoc[] {
  return Object.entries(schema.shape).flatMap(([name, field]): readonly KeyDoc[] => {
    const { inner, fallback } = unwrap(field as z.ZodType); // a shape's values are schemas
    const key = `${prefix}${name}`;
    const description = (field as z.ZodType).description ?? inner.description ?? "";
    if (inner instanceof z.ZodObject && prefix === "" && inner !== dataSchema.shape.columns.unwrap())
      return keysOf(inner, `${key}.`);
    return [{ key, default: fallback, description }];
  });
}

function unwrap(field: z.ZodType): { readonly inner: z.ZodType; readonly fallback: unknown } {
  let [inner, fallback]: [z.ZodType, unknown] = [field, undefined];
  while (
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault ||
    inner instanceof z.ZodNullable
  ) {
    if (inner instanceof z.ZodDefault) fallback ??= inner.def.defaultValue;
    inner = inner.unwrap() as z.ZodType; // zod's wrappers forget the type of what they wrap
  }
  return { inner, fallback };
}
