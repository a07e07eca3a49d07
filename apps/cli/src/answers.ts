/** @file Figures of what a model writes for held-out rows: each prompt is answered, and judged by all its references. */
import type { Runtime, Store } from "@graftml/tensor";
import { each, type Figures, type Rows, textMetrics } from "@graftml/trainer";
import type { Row } from "./data/row.ts";
import { UsageError } from "./errors.ts";
import type { Session } from "./session.ts";
import { promptOf, write } from "./writing.ts";

/** Prompts, each once, with all that may follow them. */
function referencesOf(rows: Rows<Row>): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const { prompt, completion, source, target, origin } of each(rows)) {
    const [asked, answer] = [prompt ?? source, completion ?? target];
    if (asked === undefined || answer === undefined)
      throw new UsageError(
        `${origin}: data.metrics judges answers, so rows need prompt and completion, or source and target.`,
      );
    found.set(asked, [...(found.get(asked) ?? []), answer]);
  }
  return found;
}

/** Writes an answer to every prompt of the rows and judges it by the figures that the run asks for; none of them: nothing is written. */
export async function judgeAnswers(
  on: { readonly runtime: Runtime; readonly store: Store },
  session: Session,
  rows: Rows<Row>,
): Promise<Figures> {
  const { run, loaded } = session;
  const { metrics, max_length: maxNewTokens } = run.data;
  if (metrics.length === 0 || rows.length === 0) return {};
  const asked = referencesOf(rows);
  const prompts = [...asked.keys()].map((text) => promptOf(text, loaded));
  const options = { maxNewTokens, batch: run.train.batch_size };
  const answers = await write(on, session, prompts, options);
  const texts = answers.map(({ text }) => text ?? "");
  const references = [...asked.values()];
  return Object.fromEntries(metrics.map((name) => [name, textMetrics[name]?.(texts, references) ?? NaN]));
}
