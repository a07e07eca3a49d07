/** @file `graft demo`: a run file, a model and data that are shipped with Graft, through train, generate and merge. */
import { join, relative } from "node:path";
import { loadModel } from "@graftml/models";
import { layoutsOf } from "../data/columns.ts";
import { firstRows } from "../data/read.ts";
import type { Row } from "../data/row.ts";
import { deviceOf, type Opened, openRuntime } from "../device.ts";
import { UsageError } from "../errors.ts";
import { needed, openGiven, readGiven } from "../inputs.ts";
import { finish, paint, showFile, wrap } from "../io.ts";
import { compareMerged, writeMerged } from "../merging.ts";
import { claim, names } from "../outputs.ts";
import { examplesOf, readRecords } from "../plan.ts";
import { bytes, percent, thousands } from "../render.ts";
import { parseRun } from "../run-file.ts";
import { countParameters, declareSession, type Session } from "../session.ts";
import type { Command } from "../verbs.ts";
import { called } from "../versions.ts";
import { promptOf, write } from "../writing.ts";
import { trainSession } from "./train.ts";

/** The demo's folder: beside `src` in a clone, beside `dist` in the package. */
const FOLDER = join(import.meta.dirname, "../../demo");
const OUT = "runs/demo";
/** Held-out rows that are answered, and those of them that are shown. */
const [ASKED, SHOWN] = [20, 3] as const;
/** Columns of prose. */
const PROSE = 100;
/** Longest answer, in tokens. */
const ANSWER = 72;

export const demo: Command = async (io, args, options) => {
  const file = join(FOLDER, "run.yaml");
  const given = readGiven([file, "--out", OUT, ...args]);
  const run = parseRun(given.source);
  const out = needed(run.out, "out", given);
  const session = await openGiven(run, given.source);
  const { columns, eval: heldOut } = run.data;
  const wanted = { columns, layouts: layoutsOf[run.task] };
  const asked = await firstRows(needed(heldOut, "data.eval", given), wanted, ASKED);
  if (asked.some((row) => row.prompt === undefined))
    throw new UsageError("the demo's data need a prompt and a completion.");
  await claim(out, { resume: false, force: true });
  const data = examplesOf(session, await readRecords(run));
  const opened = await openRuntime(deviceOf(options), run.train.device_memory);
  const say = (text: string): void => (io.json ? io.err : io.out)(`${text}\n`);
  const tell = (text: string, indent = ""): void =>
    say(indent + wrap(text, Math.min(io.width, PROSE) - indent.length - 1, indent));
  const heading = (text: string): void => say(`\n${paint("bold", text, io.json ? process.stderr : process.stdout)}`);
  try {
    const { trainable, total } = countParameters(session);
    tell(
      `A model of ${thousands(total - trainable)} parameters, pretrained by Graft on Shakespeare, is to learn something new: to turn stage directions into lines. ${methodsOf(session)} trains ${percent(trainable / total)} of it on ${data.rows.length} examples.`,
    );

    heading("Before");
    const before = await answer(opened, { ...session, stack: [] }, asked);
    show(say, asked, before);

    heading("Training");
    const summary = await trainSession(io, session, data, opened, { out, command: `${called} demo` });

    heading("After");
    const trained = await openGiven(run, given.source, { trained: join(out, names.adapter) });
    const after = await answer(opened, trained, asked);
    show(say, asked, after, { compare: true });

    heading("Word for word");
    const [first, last] = [matches(asked, before), matches(asked, after)];
    say(`  ${last} of ${asked.length} held-out lines, ${first} before.`);

    heading("Adapter");
    const adapter = join(out, names.adapter);
    tell(
      `${showFile(adapter)}: ${bytes(summary.adapter_bytes)}, ${percent(trainable / total)} of the parameters, as PEFT loads it.`,
      "  ",
    );

    heading("Merged");
    const folder = join(out, "merged");
    await writeMerged(trained, folder);
    const merged = await loadModel(folder);
    const same = await answer(opened, { ...trained, loaded: merged, stack: [] }, asked);
    const agreeing = same.filter((text, i) => text === after[i]).length;
    const { difference, largest } = await compareMerged(opened.runtime, trained, merged);
    tell(
      `${showFile(folder)}: a model as transformers loads it. It gives the same answers to ${agreeing} of ${asked.length} prompts; logits differ by at most ${difference.toExponential(1)}, the largest is ${largest.toFixed(1)}.`,
      "  ",
    );

    heading("Go on");
    say(
      `  ${called} generate --model ${showFile(run.model)} --adapter ${showFile(adapter)} --prompt $'HAMLET thanks PORTIA\\n'`,
    );
    say(`  ${called} train ${showFile(file)} --out runs/mine --methods.0.rank 2`);
    if (io.json)
      finish(
        io,
        {
          ...summary,
          out: relative("", out),
          exact: { before: first, after: last, of: asked.length },
          merged: { same: agreeing, max_logit_difference: difference },
        },
        "",
      );
  } finally {
    opened.runtime.dispose();
  }
};

const methodsOf = ({ stack }: Session): string =>
  stack.flatMap(({ adapter }) => adapter.methods.map((m) => m.name)).join(" + ");

/** What the session's model writes after each prompt. */
async function answer({ runtime }: Opened, session: Session, asked: readonly Row[]): Promise<readonly string[]> {
  const { store } = declareSession(runtime, session);
  const prompts = asked.map(({ prompt = "" }) => promptOf(prompt, session.loaded));
  const written = await write({ runtime, store }, session, prompts, { maxNewTokens: ANSWER, batch: ASKED });
  return written.map(({ text }) => text ?? "");
}

const matches = (asked: readonly Row[], answers: readonly string[]): number =>
  asked.filter(({ completion }, i) => completion?.trim() === answers[i]?.trim()).length;

/** Lines of an answer that are shown. */
const LINES = 2;

function show(
  say: (text: string) => void,
  asked: readonly Row[],
  answers: readonly string[],
  { compare = false } = {},
): void {
  for (const [i, { prompt = "", completion = "" }] of asked.slice(0, SHOWN).entries()) {
    const lines = (answers[i] ?? "").trim().split("\n").slice(0, LINES);
    say(`  ${paint("dim", prompt.trim(), process.stdout)}`);
    const right = completion.trim() === answers[i]?.trim();
    lines.forEach((line, n) =>
      say(`    ${line}${compare && right && n === lines.length - 1 ? paint("green", "  ✓", process.stdout) : ""}`),
    );
    if (compare && !right)
      say(`    ${paint("yellow", `expected: ${completion.trim().replaceAll("\n", " ")}`, process.stdout)}`);
  }
}
