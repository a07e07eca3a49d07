/** @file `graft generate`: writes prompts on. */
import { readFileSync } from "node:fs";
import { extname } from "node:path";
import { z } from "zod";
import { readRows } from "../data/read.ts";
import { deviceOf, openRuntime } from "../device.ts";
import { UsageError } from "../errors.ts";
import { openTrained, readGiven } from "../inputs.ts";
import { finish, paint } from "../io.ts";
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
  const given = readGiven(args);
  const settings = settingsOf(options);
  const session = await openTrained(given);
  const { model } = session.loaded;
  const chat = options["chat"] === true;
  const prompts = [
    ...(await textsOf(options)).map((text) => (chat ? chatPromptOf : promptOf)(text, session.loaded)),
    ...idsOf(options, model.info.vocabulary),
  ];
  if (prompts.length === 0)
    throw new UsageError('nothing to write on: give --prompt "…", --prompts FILE or --ids "1 2 3".');
  const { runtime } = await openRuntime(deviceOf(options), session.run.train.device_memory);
  try {
    const { store } = declareSession(runtime, session);
    const [first] = prompts;
    // One prompt on a terminal is shown as it is written.
    const live =
      !io.json && process.stdout.isTTY && prompts.length === 1 && first?.text !== null && first !== undefined;
    io.begun = true;
    // What is written on follows its prompt; an answer stands on a line of its own.
    const gap = model.info.decoderStart === undefined && !chat ? "" : "\n";
    if (live) io.out(paint("dim", first.text ?? "", process.stdout) + gap);
    const written = await write({ runtime, store }, session, prompts, {
      ...settings,
      ...(live && { onText: (_: number, text: string) => io.out(text) }),
    });
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

/** Prompts of --prompt and --prompts. */
async function textsOf({ prompt, prompts }: Options): Promise<readonly string[]> {
  const given = Array.isArray(prompt) ? prompt.map(String) : [];
  if (typeof prompts !== "string") return given;
  if (extname(prompts) !== ".txt" && extname(prompts) !== "") return [...given, ...(await promptsIn(prompts))];
  let text: string;
  try {
    text = readFileSync(prompts, "utf8");
  } catch (cause) {
    throw new UsageError(`there is no file of prompts ${prompts}.`, { cause });
  }
  return [...given, ...text.split("\n").filter((line) => line !== "")];
}

/** The column `prompt` of a data file. */
async function promptsIn(file: string): Promise<readonly string[]> {
  const prompts: string[] = [];
  const wanted = { columns: { text: "prompt" }, layouts: [["text"]] } as const;
  for await (const { text = "" } of readRows(file, wanted)) prompts.push(text);
  return prompts;
}

/** Prompts of --ids. */
function idsOf({ ids }: Options, vocabulary: number): readonly Prompt[] {
  const given = Array.isArray(ids) ? ids.map(String) : [];
  return given.map((text) => {
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
