/** @file The verbs of the command line: what each is called with, and where it lies. Nothing else is loaded for `--help`. */
import type { Io } from "./io.ts";

/** Values of a command's own options, by their long names in camel case. */
export type Options = Readonly<Record<string, unknown>>;

/** A command: arguments that are no options of its own are a run file and its keys as flags. */
export type Command = (io: Io, args: readonly string[], options: Options) => Promise<void>;

/** A verb. */
export interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly usage: string;
  /** Own options, [flags, description, default]. */
  readonly options: readonly (readonly [flags: string, description: string, fallback?: string])[];
  readonly example: string;
  /** Whether it takes the keys of a run file as flags, and whether its help lists them. */
  readonly keys: "listed" | "taken" | "none";
  readonly load: () => Promise<Command>;
}

const device = ["--device <name>", "webgpu, or host: the f64 interpreter, slow and exact", "webgpu"] as const;

export const verbs: readonly Verb[] = [
  {
    name: "train",
    summary: "train the adapter that a run file describes",
    usage: "RUN.yaml [--key value …]",
    options: [
      ["--resume", "go on from the last checkpoint, to the bits of an uninterrupted run"],
      ["--force", "delete what an earlier run left in the same folder"],
      device,
    ],
    example: "graft train run.yaml --train.lr 5e-4 --methods.0.rank 16",
    keys: "listed",
    load: async () => (await import("./commands/train.ts")).train,
  },
  {
    name: "eval",
    summary: "loss and other figures on held-out data, with and without the adapter",
    usage: "[RUN.yaml] [--key value …]",
    options: [device],
    example: "graft eval run.yaml\n  graft eval --model models/tiny --adapter runs/first/adapter --data.eval dev.jsonl",
    keys: "taken",
    load: async () => (await import("./commands/eval.ts")).evaluateData,
  },
  {
    name: "generate",
    summary: "write prompts on; greedy unless told otherwise",
    usage: "[RUN.yaml] --prompt TEXT [--key value …]",
    options: [
      ["--prompt <text...>", "a text to write on"],
      ["--prompts <file>", "a file of prompts: a text a line, or .jsonl with a column prompt"],
      [
        "--adapter <adapter...>",
        "an adapter's folder; or name=FOLDER, of which prompts choose one: a row of the batch each",
      ],
      [
        "--use <name...>",
        "which of them, for all prompts or one for each; __base__ is none. A .jsonl says so in a column adapter",
      ],
      ["--chat", "take prompts for a user's turns of a chat, in the words of the model's chat template"],
      ["--ids <ids...>", 'token ids, "1 2 3", for models without a tokenizer'],
      ["--max-new-tokens <n>", "tokens to write at most", "128"],
      ["--temperature <t>", "draw tokens at this temperature instead of taking the likeliest"],
      ["--top-k <k>", "draw among the k likeliest only"],
      ["--top-p <p>", "draw among the likeliest whose probabilities add up to p"],
      ["--seed <n>", "seed of the draws", "0"],
      device,
    ],
    example:
      'graft generate run.yaml --prompt "Once upon a time"\n  graft generate --model models/tiny --prompt "Once" --temperature 0.8 --top-p 0.9',
    keys: "taken",
    load: async () => (await import("./commands/generate.ts")).generate,
  },
  {
    name: "compare",
    summary: "train a run once with each of several methods: what each costs and what it reaches, as a table",
    usage: "RUN.yaml [--methods LIST] [--key value …]",
    options: [
      ["--methods <list>", "names, with keys where they have some: full,lora:{rank: 8}; by default compare.methods"],
      ["--seeds <list>", "seeds that each is trained from: 0,1,2; by default train.seed alone"],
      ["--lrs <list>", "learning rates to try for a quarter of the steps; by default each method's usual one"],
      ["--force", "train anew what an earlier comparison has finished"],
      device,
    ],
    example:
      "graft compare run.yaml --methods full,bitfit,ia3 --seeds 0,1,2\n  graft compare run.yaml --methods 'lora:{rank: 2}, lora:{rank: 16, lr: [1e-3, 3e-3]}'",
    keys: "taken",
    load: async () => (await import("./commands/compare.ts")).compare,
  },
  {
    name: "merge",
    summary: "fold an adapter into a model's weights: a folder that transformers loads",
    usage: "--model FOLDER --adapter FOLDER --out FOLDER",
    options: [
      [
        "--into-quantized",
        "store what is merged in four or eight bits again, as the model is, and say what that does to logits and held-out loss",
      ],
      ["--force", "replace a model that lies in the folder"],
      device,
    ],
    example: "graft merge --model models/tiny --adapter runs/first/adapter --out merged",
    keys: "taken",
    load: async () => (await import("./commands/merge.ts")).mergeModel,
  },
  {
    name: "quantize",
    summary: "store a model's weights in four or eight bits: a folder that transformers loads with bitsandbytes",
    usage: "--model FOLDER --out FOLDER [--type nf4]",
    options: [
      ["--model <folder>", "a folder in Hugging Face layout, or a Hub id"],
      ["--out <folder>", "where the quantized model goes"],
      ["--type <type>", "nf4, fp4 or int8", "nf4"],
      ["--block <n>", "consecutive weights that share a scale; int8 has one a row", "64"],
      ["--double-quant", "store scales in eight bits too"],
      ["--task <task>", "what the model is for", "causal-lm"],
      ["--force", "replace a model that lies in the folder"],
    ],
    example: "graft quantize --model models/tiny --out models/tiny-nf4 --type nf4 --double-quant",
    keys: "none",
    load: async () => (await import("./commands/quantize.ts")).quantizeModel,
  },
  {
    name: "convert",
    summary:
      "write an adapter in another tool's layout: peft, adapterhub, mlx; T-Few's files and soft prompts are read too",
    usage: "--model FOLDER --adapter FOLDER --to FORMAT --out FOLDER",
    options: [
      [
        "--model <folder>",
        "what the adapter is for: a folder with a config.json, or a Hub id; its weights are not needed",
      ],
      [
        "--adapter <folder...>",
        "an adapter's folder or file in any layout that is known, or a Hub id; several are combined into one",
      ],
      ["--weights <list>", "of several adapters, what each counts: 1,0.5; all 1 by default"],
      ["--combine <keys>", "how several adapters become one, by the keys of their method: '{how: ties, density: 0.5}'"],
      ["--to <format>", "the layout to write: peft, adapterhub, mlx, or one that an installed package brings"],
      ["--out <folder>", "where it goes"],
      ["--task <task>", "what the model is for", "causal-lm"],
      ["--labels <n>", "outputs of the task's head, where config.json does not say"],
      ["--name <name>", "the adapter's name where files hold one; the folder's by default"],
      ["--force", "replace an adapter that lies in the folder"],
    ],
    example: "graft convert --model models/tiny --adapter runs/first/adapter --to mlx --out adapters/mlx",
    keys: "none",
    load: async () => (await import("./commands/convert.ts")).convertAdapter,
  },
  {
    name: "inspect",
    summary: "where methods attach, what is trained, what memory it needs, what the first rows look like",
    usage: "[RUN.yaml] [--key value …]",
    options: [
      ["--tokens", "show only the first rows, token by token, and which of them are learnt"],
      ["--rows <n>", "how many of them", "3"],
      ["--memory <size>", "show only settings with which training fits into so much, 16GB; a config.json is enough"],
      device,
    ],
    example:
      "graft inspect run.yaml\n  graft inspect run.yaml --tokens\n  graft inspect run.yaml --memory 16GB\n  graft inspect --model models/tiny",
    keys: "taken",
    load: async () => (await import("./commands/inspect.ts")).inspect,
  },
  {
    name: "validate",
    summary: "check a run file and its data: every problem at once, without a device",
    usage: "RUN.yaml [--key value …]",
    options: [],
    example: "graft validate run.yaml",
    keys: "listed",
    load: async () => (await import("./commands/validate.ts")).validate,
  },
  {
    name: "push",
    summary: "upload an adapter to the Hub, with a model card that says how it was trained",
    usage: "--adapter FOLDER --repo ORG/NAME",
    options: [
      ["--adapter <folder>", "an adapter; what its run left beside it goes into the card"],
      ["--repo <name>", "where to: org/name, or org/name@branch; it is made if it is not there"],
      ["--base <name>", "the model on the Hub that it is an adapter of, if the run named a folder"],
      ["--private", "make the repository a private one"],
      ["--message <text>", "what the commit says"],
      ["--dry-run", "print the card and upload nothing"],
    ],
    example:
      "graft push --adapter runs/first/adapter --repo me/first --dry-run\n  HF_TOKEN=hf_… graft push --adapter runs/first/adapter --repo me/first",
    keys: "none",
    load: async () => (await import("./commands/push.ts")).push,
  },
  {
    name: "methods",
    summary: "the methods that are installed, with their keys",
    usage: "[NAME …]",
    options: [],
    example: "graft methods lora",
    keys: "none",
    load: async () => (await import("./commands/methods.ts")).listMethods,
  },
  {
    name: "doctor",
    summary: "check Node, the WebGPU adapter and its results",
    usage: "",
    options: [],
    example: "graft doctor",
    keys: "none",
    load: async () => (await import("./commands/doctor.ts")).doctor,
  },
  {
    name: "demo",
    summary: "fine-tune a small model that is shipped with Graft, and look at what it learnt",
    usage: "[--out FOLDER] [--key value …]",
    options: [device],
    example: "graft demo --out runs/demo --methods.0.rank 4",
    keys: "taken",
    load: async () => (await import("./commands/demo.ts")).demo,
  },
];
