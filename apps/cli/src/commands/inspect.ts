/** @file `graft inspect`: what a model offers, what methods do with it, what that needs, and what rows look like. */
import type { Adapter, Site } from "@graftml/peft";
import { sites } from "@graftml/peft";
import { deviceBytes, show } from "@graftml/tensor";
import type { Example, Rows } from "@graftml/trainer";
import { costLine, costsOf } from "../cost-lines.ts";
import { bytesOf, deviceOf, isSize } from "../device.ts";
import { UsageError } from "../errors.ts";
import { findFit, showFit } from "../fitting.ts";
import { type Given, needed, openGiven, readGiven } from "../inputs.ts";
import { finish, type Io, paint, showFile, table } from "../io.ts";
import { examplesOf, readRecords, type SplitRecords } from "../plan.ts";
import { memory, percent, thousands } from "../render.ts";
import { parseRun } from "../run-file.ts";
import { countParameters, type Session } from "../session.ts";
import type { AnyExample } from "../tasks.ts";
import type { Command, Options } from "../verbs.ts";
import { longestRow, plannedMemory, type PlannedRows, plansOf } from "../what-if.ts";
import { showTokens } from "./tokens.ts";

/** Rows whose tokens are shown. */
const SHOWN_ROWS = 2;

export const inspect: Command = async (io, args, options) => {
  const given = readGiven(args);
  const parsed = parseRun(given.source);
  const records = await readRecords(parsed);
  const session = await openGiven(parsed, given.source, { given: records.train, planned: true });
  const { run, loaded, stack } = session;
  if (options["tokens"] === true) return inspectTokens(io, session, records, countOf(options), given);
  if (options["memory"] !== undefined) return inspectMemory(io, session, records, limitOf(options), given);
  const data = run.data.train === undefined ? { rows: [], heldOut: [] } : examplesOf(session, records);
  const counts = countParameters(session);
  const census = sitesOf(session);
  const costs = costsOf(session);
  const plan = session.trained === undefined ? undefined : await plannedMemory(session, data, deviceOf(options));
  const parts = [
    table([
      ["model", `${showFile(run.model)} · ${loaded.model.info.architecture} · ${thousands(counts.total)} parameters`],
      [
        "layers",
        `${loaded.model.info.layers} of width ${loaded.model.info.hidden}, ${loaded.model.info.heads} heads, ${thousands(loaded.model.info.vocabulary)} tokens, ${thousands(loaded.model.info.maxLength)} positions`,
      ],
      ...stack.map(({ adapter }) => [
        "adapter",
        `${adapter.methods.map((m) => m.name).join(" + ")}${adapter.trainable ? "" : " (frozen)"}`,
      ]),
      ...costs.map((cost) => ["costs", costLine(cost)]),
      ...(session.trained
        ? [["trains", `${thousands(counts.trainable)} (${percent(counts.trainable / counts.total)})`]]
        : []),
      ...(plan
        ? [
            [
              "memory",
              `${memory(plan.bytes)} (${data.rows.length === 0 ? "rows of data.max_length tokens" : "the longest batch"}${plan.elsewhere})`,
            ],
          ]
        : []),
    ]),
    table([
      ["kind", "site", "roles", "shape", "methods"].map((head) => paint("dim", head, process.stdout)),
      ...census.map((row) => [
        row.kind,
        `${row.site}${row.count > 1 ? paint("dim", ` ×${row.count}`, process.stdout) : ""}`,
        row.roles.join(" "),
        row.shape,
        paint("green", row.methods.join(" + "), process.stdout),
      ]),
    ]),
    ...firstOf(data.rows, SHOWN_ROWS).map((row) => showTokens(row, loaded.tokenizer, run.data)),
  ];
  finish(
    io,
    {
      model: run.model,
      architecture: loaded.model.info.architecture,
      ...counts,
      adapters: costs,
      sites: census,
      ...(plan && { memory: { ...plan.bytes, total: deviceBytes(plan.bytes) } }),
    },
    parts.join("\n\n"),
  );
};

/** Shows rows only: nothing is planned, so no device is opened. */
function inspectTokens(io: Io, session: Session, records: SplitRecords, count: number, given: Given): void {
  const { run, loaded } = session;
  needed(run.data.train ?? run.data.eval, "data.train", given);
  const { rows, heldOut } = examplesOf(session, records);
  const shown = [...firstOf(rows, count), ...firstOf(heldOut, count)];
  finish(
    io,
    { rows: shown.map(({ ids, labels, origin }) => ({ origin, ids, labels })) },
    shown.map((row) => showTokens(row, loaded.tokenizer, run.data)).join("\n\n"),
  );
}

/** Shows settings with which training fits into so many bytes, on whatever GPU has them. */
async function inspectMemory(
  io: Io,
  session: Session,
  records: SplitRecords,
  limit: number,
  { source }: Given,
): Promise<void> {
  if (session.trained === undefined)
    throw new UsageError(
      `--memory: the run trains nothing, so nothing is planned. Name methods: --methods "[{ name: lora }]".`,
    );
  const rowsOf = (of: Session): PlannedRows =>
    of.run.data.train === undefined ? longestRow(of) : examplesOf(of, records);
  const fit = await findFit(session.run, limit, plansOf(session, source, rowsOf));
  const { candidates, chosen } = fit;
  finish(io, { limit, candidates, changes: chosen?.changes ?? null }, showFit(fit));
}

/** The first rows, so many at most. */
const firstOf = (rows: Rows<AnyExample>, count: number): readonly Example[] =>
  Array.from({ length: Math.min(count, rows.length) }, (_, i) => rows.at(i)).filter(
    (row): row is Example => row !== undefined && "ids" in row,
  );

function countOf({ rows }: Options): number {
  const count = Number(rows);
  if (Number.isInteger(count) && count > 0) return count;
  throw new UsageError(`--rows: wants a whole number above 0; got ${JSON.stringify(rows)}.`);
}

function limitOf({ memory: size }: Options): number {
  if (typeof size === "string" && isSize(size)) return bytesOf(size);
  throw new UsageError(`--memory: wants a size such as 16GB or 8GiB; got ${JSON.stringify(size)}.`);
}

interface SiteRow {
  readonly kind: string;
  /** Path with "*" for the number of a block. */
  readonly site: string;
  readonly roles: readonly string[];
  readonly shape: string;
  readonly count: number;
  readonly methods: readonly string[];
}

/** Sites of a model, alike ones of several blocks together, with the methods that attach there. */
function sitesOf({ loaded: { model }, stack }: Session): readonly SiteRow[] {
  const rows = new Map<string, SiteRow>();
  for (const site of sites(model)) {
    const methods = stack.flatMap(({ adapter }) => methodsAt(adapter, site));
    const pattern = site.path.replace(/(^|\.)\d+(?=\.|$)/, "$1*");
    const shape =
      site.shape.length > 0 ? show(site.shape) : site.in > 0 && site.out > 0 ? `${site.in} → ${site.out}` : "";
    const key = [site.kind, pattern, shape, ...methods].join(" ");
    rows.set(key, {
      kind: site.kind,
      site: pattern,
      roles: site.roles,
      shape,
      count: (rows.get(key)?.count ?? 0) + 1,
      methods,
    });
  }
  return [...rows.values()];
}

const methodsAt = (adapter: Adapter, { kind, path }: Site): readonly string[] =>
  adapter.sites.find(({ site }) => site.kind === kind && site.path === path)?.methods ?? [];
