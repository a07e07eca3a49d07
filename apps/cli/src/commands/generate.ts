/** @file `graft generate`: writes prompts on. */
import { readFileSync } from "node:fs";
import { extname } from "node:path";
import { declareAdapter } from "@graftml/peft";
import { z } from "zod";
import { readRows } from "../data/read.ts";
import { deviceOf, openRuntime } from "../device.ts";
import { UsageError } from "../errors.ts";
import { openTrained, readGiven } from "../inputs.ts";
import { finish, paint } from "../io.ts";
import { BASE, namedIn, numberOf, openNamed } from "../named-adapters.ts";
import { declareSession } from "../session.ts";
import type { Command, Options } from "../verbs.ts";
import { chatPromptOf, type Prompt, promptOf, write, type Written } from "../writing.ts";

const numbers = z.object({
  maxNewTokens: z.coerce.number().int().positive(),
  temperature: z.coerce.number().positive().optional(),
  topK: z.coerce.number().int().positive().optional(),
  topP: z.coerce.number().positive().max(1).optional(),
  seed: z.coerce.number().int().min(0),
});

export const generate: Command = async (io, args, options) => {
  const { named, rest } = namedIn(listOf(options["adapter"]));
  const given = readGiven([...args, ...rest.flatMap((folder) => ["--adapter", folder])]);
  const settings = settingsOf(options);
  const session = await openTrained(given);
  const { model } = session.loaded;
  const chat = options["chat"] === true;
  const asked = [
    ...(await textsOf(options, named.size > 0)).map(({ text, adapter }) => ({
      ...(chat ? chatPromptOf : promptOf)(text, session.loaded),
      adapter,
    })),
    ...idsOf(options, model.info.vocabulary),
  ];
  if (asked.length === 0)
    throw new UsageError('nothing to write on: give --prompt "…", --prompts FILE or --ids "1 2 3".');
  const prompts = choose(asked, listOf(options["use"]), named);
  const chosen = await openNamed(session, named);
  const { runtime } = await openRuntime(deviceOf(options), session.run.train.device_memory);
  try {
    const { store } = declareSession(runtime, session);
    for (const { adapter, state } of chosen)
      declareAdapter(store, adapter, session.loaded.base, { seed: 0, ...(state && { state }) });
    const [first] = prompts;
    // One prompt on a terminal is shown as it is written.
    const live =
      !io.json && process.stdout.isTTY && prompts.length === 1 && first?.text !== null && first !== undefined;
    io.begun = true;
    // What is written on follows its prompt; an answer stands on a line of its own.
    const gap = model.info.decoderStart === undefined && !chat ? "" : "\n";
    if (live) io.out(paint("dim", first.text ?? "", process.stdout) + gap);
    const how = { ...settings, ...(live && { onText: (_: number, text: string) => io.out(text) }) };
    const stacks = chosen.map(({ adapter }) => [adapter]);
    const written = await write({ runtime, store }, session, prompts, how, { stacks });
    if (live) io.out("\n");
    else finish(io, written, written.map((w) => wordsOf(w, gap)).join("\n\n"));
  } finally {
    runtime.dispose();
  }
};

const wordsOf = ({ prompt, text, ids }: Written, gap: string): string =>
  prompt === null || text === null ? ids.join(" ") : `${paint("dim", prompt, process.stdout)}${gap}${text}`;

function settingsOf(options: Options) {
  const result = numbers.safeParse(options);
  if (!result.success) {
    const [issue] = result.error.issues;
    const flag = String(issue?.path[0] ?? "").replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
    throw new UsageError(`--${flag}: ${issue?.message}; got ${JSON.stringify(options[String(issue?.path[0])])}.`);
  }
  const { maxNewTokens, temperature, topK, topP, seed } = result.data;
  if (temperature === undefined && topK === undefined && topP === undefined) return { maxNewTokens };
  const sampling = {
    ...(temperature !== undefined && { temperature }),
    ...(topK !== undefined && { topK }),
    ...(topP !== undefined && { topP }),
    seed,
  };
  return { maxNewTokens, sampling };
}

/** A prompt, and the adapter that its file names for it. */
interface Asked {
  readonly text: string;
  readonly adapter?: string;
}

/** Prompts of --prompt and --prompts. @param named whether a file of records says which adapter is meant. */
async function textsOf({ prompt, prompts, use }: Options, named: boolean): Promise<readonly Asked[]> {
  const given = listOf(prompt).map((text): Asked => ({ text }));
  if (typeof prompts !== "string") return given;
  if (extname(prompts) !== ".txt" && extname(prompts) !== "")
    return [...given, ...(await promptsIn(prompts, named && use === undefined))];
  let text: string;
  try {
    text = readFileSync(prompts, "utf8");
  } catch (cause) {
    throw new UsageError(`there is no file of prompts ${prompts}.`, { cause });
  }
  const lines = text.split("\n").filter((line) => line !== "");
  return [...given, ...lines.map((line): Asked => ({ text: line }))];
}

/** The column `prompt` of a data file, and the column `adapter` where prompts choose. */
async function promptsIn(file: string, named: boolean): Promise<readonly Asked[]> {
  const prompts: Asked[] = [];
  const alone = { columns: { text: "prompt" }, layouts: [["text"]] } as const;
  const choosing = { columns: { text: "prompt", label: "adapter" }, layouts: [["text", "label"]] } as const;
  for await (const { text = "", label } of readRows(file, named ? choosing : alone))
    prompts.push({ text, ...(label !== undefined && { adapter: String(label) }) });
  return prompts;
}

/**
 * Prompts with the adapters that write them on: those of their file, or of --use, one for all or one for each.
 * @throws {UsageError} where it is not clear which one is meant.
 */
function choose(
  prompts: readonly (Prompt & { readonly adapter?: string | undefined })[],
  use: readonly string[],
  named: ReadonlyMap<string, string>,
): readonly Prompt[] {
  if (named.size === 0) {
    if (use.length > 0) throw new UsageError("--use chooses among adapters that have names: --adapter a=FOLDER.");
    return prompts;
  }
  if (use.length > 1 && use.length !== prompts.length)
    throw new UsageError(
      `--use: ${use.length} adapters for ${prompts.length} prompts; give one for all, or one for each.`,
    );
  const [only] = named.size === 1 ? named.keys() : [];
  return prompts.map(({ adapter, ...prompt }, i) => {
    const name = adapter ?? (use.length > 1 ? use[i] : use[0]) ?? only;
    if (name === undefined)
      throw new UsageError(
        `which adapter? Say --use NAME for all prompts, or one for each, of ${[...named.keys(), BASE].join(", ")}.`,
      );
    return { ...prompt, stack: numberOf(name, named) };
  });
}

/** The values of an option that may be given again. */
const listOf = (given: unknown): readonly string[] => (Array.isArray(given) ? given.map(String) : []);

/** Prompts of --ids. */
function idsOf({ ids }: Options, vocabulary: number): readonly Prompt[] {
  return listOf(ids).map((text) => {
    const list = text
      .trim()
      .split(/[\s,]+/)
      .map(Number);
    const odd = list.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
    if (odd !== undefined)
      throw new UsageError(`--ids: ${JSON.stringify(text)} must be whole numbers from 0 to ${vocabulary - 1}.`);
    return { text: null, ids: list };
  });
}
