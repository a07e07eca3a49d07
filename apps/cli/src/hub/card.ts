/** @file A model card: what an adapter is, how it was trained, how it is used. */
import { basename, isAbsolute } from "node:path";
import { stringify } from "yaml";
import { bytes, percent, thousands } from "../render.ts";
import type { Run } from "../schema.ts";
import type { Summary } from "../training.ts";

/** A run as its folder has it: with what it was made with. */
export type Resolved = Run & { readonly made_with?: Readonly<Record<string, string>> };

/** What is known of an adapter that is to be described. */
export interface Described {
  /** Where it goes: "org/name". */
  readonly repo: string;
  /** The base on the Hub, or undefined if nobody else has it. */
  readonly base: string | undefined;
  readonly adapterConfig: Readonly<Record<string, unknown>>;
  /** The run that made it; undefined if only the adapter is left. */
  readonly run: Resolved | undefined;
  readonly summary: Summary | undefined;
}

/** A model card as the Hub reads it: YAML in front, Markdown behind. Nothing in it names a place of this machine. */
export function modelCard({ repo, base, adapterConfig, run, summary }: Described): string {
  const methods = run?.methods.map(({ name }) => nameOf(name)) ?? [];
  const type = adapterConfig["peft_type"];
  const peft = typeof type === "string" && !type.startsWith("GRAFT_");
  const front = {
    ...(base !== undefined && { base_model: base, base_model_relation: "adapter" }),
    ...(peft && { library_name: "peft" }),
    tags: ["graft", ...new Set(methods)],
    ...(run !== undefined && dataOnHub(run).length > 0 && { datasets: dataOnHub(run) }),
  };
  const of =
    base === undefined
      ? run === undefined
        ? "a model"
        : `\`${basename(run.model)}\``
      : `[${base}](https://huggingface.co/${base})`;
  const sections = [
    `---\n${stringify(front)}---`,
    `# ${repo.split("/").at(-1) ?? repo}`,
    `An adapter of ${of}, trained with Graft.`,
    ...(run === undefined ? [] : trainingSections(run)),
    ...(summary === undefined ? [] : [`## Result\n\n${resultTable(summary)}`]),
    ...(run?.made_with === undefined
      ? []
      : [`## Made with\n\n${markdownTable(["", "version"], Object.entries(run.made_with))}`]),
    `## Use\n\n${usage(repo, base, peft)}`,
  ];
  return `${sections.join("\n\n")}\n`;
}

const nameOf = (name: string): string => (name.includes("/") ? basename(name) : name);

/** Data sets of a run that others can get. */
const dataOnHub = ({ data: { train } }: Run): readonly string[] =>
  [
    ...new Set(
      [train ?? []].flat().filter((name) => /^[\w-][\w.-]*\/[\w-][\w.-]*($|[@/])/.test(name) && !/\.\w+$/.test(name)),
    ),
  ].map((name) => /^[^/]+\/[^/@]+/.exec(name)?.[0] ?? name);

function trainingSections({ methods, data, train, task, init, adapter }: Run): readonly string[] {
  const { batch_size: batch, accumulate, steps, epochs, betas, ...others } = train;
  const files = (given: string | readonly string[] | undefined): string =>
    [given ?? []]
      .flat()
      .map((file) => (isAbsolute(file) || file.startsWith(".") ? basename(file) : file))
      .join(", ");
  const rows: readonly (readonly [string, unknown])[] = [
    ["task", task],
    ["weights at the start", init],
    ["adapter at the start", adapter === undefined ? "" : "an earlier one"],
    ["data", files(data.train)],
    ["held-out data", files(data.eval)],
    [
      "columns",
      data.columns &&
        Object.entries(data.columns)
          .map(([part, column]) => `${part}: ${column}`)
          .join(", "),
    ],
    ["tokens of a row at most", data.max_length],
    ["rows of a step", accumulate > 1 ? `${batch} × ${accumulate}` : batch],
    [steps === undefined ? "epochs" : "steps", steps ?? epochs],
    ["betas", betas.join(", ")],
    ...["optimizer", "lr", "schedule", "warmup", "weight_decay", "eps", "max_grad_norm", "seed", "precision"].map(
      (key) => [key, (others as Readonly<Record<string, unknown>>)[key]] as const, // keys of the schema
    ),
  ];
  const known = rows.filter(([, value]) => value !== undefined && value !== "");
  const methodTables = methods.map(({ name, ...keys }) => {
    const settings = Object.entries(keys).filter(([, value]) => value !== undefined && value !== null);
    return `### ${nameOf(name)}\n\n${markdownTable(["key", "value"], settings)}`;
  });
  return [
    ...(methodTables.length > 0 ? [`## Methods, innermost first`, ...methodTables] : []),
    `## Training\n\n${markdownTable(["", ""], known)}`,
  ];
}

function resultTable({ trainable, total, percent: share, adapter_bytes: size, steps, final }: Summary): string {
  const figures = Object.entries(final.eval ?? {}).map(
    ([name, value]) => [`held-out ${name.replaceAll("_", " ")}`, value.toPrecision(4)] as const,
  );
  return markdownTable(
    ["", ""],
    [
      ["trained parameters", `${thousands(trainable)} of ${thousands(total)} (${percent(share / 100)})`],
      ["size of the adapter", bytes(size)],
      ["steps", thousands(steps)],
      ["loss of the last step", final.loss?.toPrecision(4) ?? "none"],
      ...figures,
    ],
  );
}

function usage(repo: string, base: string | undefined, peft: boolean): string {
  const graft = `\`\`\`sh\ngraft generate --model ${base ?? "PATH_OF_THE_BASE"} --adapter ${repo} --prompt "…"\n\`\`\``;
  if (!peft) return graft;
  return `\`\`\`python\nfrom peft import PeftModel\n\nmodel = PeftModel.from_pretrained(base_model, "${repo}")\n\`\`\`\n\n${graft}`;
}

/** A table; bars in cells would be taken for its lines. */
function markdownTable(head: readonly [string, string], rows: readonly (readonly [string, unknown])[]): string {
  const cell = (value: unknown): string =>
    (typeof value === "string" ? value : JSON.stringify(value)).replaceAll("|", "\\|").replaceAll("\n", " ");
  return [head, ["---", "---"], ...rows].map(([a, b]) => `| ${cell(a)} | ${cell(b)} |`).join("\n");
}
