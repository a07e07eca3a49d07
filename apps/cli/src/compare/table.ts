/** @file What a comparison found, as rows, as JSON and as a table in Markdown. */
import { deviceBytes } from "@graftml/tensor";
import { median } from "../median.ts";
import { bytes, percent, thousands } from "../render.ts";
import type { Finished } from "./cell.ts";

/** What runs from several seeds have in common. */
export interface Spread {
  readonly mean: number;
  /** Standard deviation over seeds; 0 of one alone. */
  readonly deviation: number;
}

/** A method in the table. */
export interface Row {
  readonly title: string;
  readonly lr: number;
  readonly seeds: number;
  readonly trainable: number;
  /** Share of all parameters that is trained, in percent. */
  readonly percent: number;
  readonly new_parameters: number;
  readonly adapter_bytes: number;
  /** Bytes on the device while training, at most. */
  readonly peak_bytes: number;
  readonly ms_per_step: number;
  /** Milliseconds of a pass over one row; null if it cannot be merged. */
  readonly latency: { readonly attached: number; readonly merged: number | null };
  /** Figures of the held-out rows after training. */
  readonly eval: Readonly<Record<string, Spread>>;
}

/** The row of a method whose runs from all seeds are done. */
export function rowOf(title: string, lr: number, finished: readonly Finished[]): Row {
  const of = (value: (f: Finished) => number): number => median(finished.map(value));
  const figures = Object.keys(finished[0]?.summary.final.eval ?? {});
  const merged = finished.flatMap(({ latency }) => latency?.merged ?? []);
  return {
    title,
    lr,
    seeds: finished.length,
    trainable: of((f) => f.summary.trainable),
    percent: of((f) => f.summary.percent),
    new_parameters: of((f) => f.new_parameters),
    adapter_bytes: of((f) => f.summary.adapter_bytes),
    peak_bytes: of((f) => deviceBytes(f.summary.memory.peak)),
    ms_per_step: of((f) => f.ms_per_step),
    latency: {
      attached: of((f) => f.latency?.attached ?? NaN),
      merged: merged.length === 0 ? null : median(merged),
    },
    eval: Object.fromEntries(
      figures.map((name) => [name, spreadOf(finished.map((f) => f.summary.final.eval?.[name] ?? NaN))]),
    ),
  };
}

function spreadOf(values: readonly number[]): Spread {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(square / Math.max(1, values.length - 1)) };
}

/** The row that others are measured against: the one that trains every parameter, or else the first. */
export const referenceOf = (rows: readonly Row[]): Row | undefined => rows.find((r) => r.percent === 100) ?? rows[0];

/** Header and cells. */
export function cellsOf(rows: readonly Row[]): readonly (readonly string[])[] {
  const reference = referenceOf(rows);
  const figures = Object.keys(reference?.eval ?? {});
  const share = (value: number, of: number | undefined): string => `${(value / (of ?? NaN)).toFixed(2)} ×`;
  const head = ["method", "rate", "trained", "new", "adapter", "peak memory", "ms a step", "pass, ms", "merged, ms"];
  const lines = rows.map((row) => [
    row.title,
    String(row.lr),
    `${thousands(row.trainable)} (${percent(row.percent / 100)})`,
    thousands(row.new_parameters),
    bytes(row.adapter_bytes),
    `${bytes(row.peak_bytes)} (${share(row.peak_bytes, reference?.peak_bytes)})`,
    row.ms_per_step.toFixed(0),
    row.latency.attached.toPrecision(3),
    row.latency.merged?.toPrecision(3) ?? "–",
    ...figures.map((name) => {
      const { mean, deviation } = row.eval[name] ?? { mean: NaN, deviation: 0 };
      const spread = row.seeds > 1 ? ` ± ${deviation.toPrecision(2)}` : "";
      const other = reference?.eval[name]?.mean ?? 0;
      // A correlation may be negative, and then has no multiple that says anything.
      return `${mean.toPrecision(4)}${spread}${other > 0 ? ` (${share(mean, other)})` : ""}`;
    }),
  ]);
  return [[...head, ...figures.map((name) => name.replaceAll("_", " "))], ...lines];
}

/** The table in Markdown, with what "×" is a multiple of. */
export function markdownOf(rows: readonly Row[]): string {
  const [head = [], ...lines] = cellsOf(rows);
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, i) => (i === 0 ? "---" : "---:"));
  return `${[head, rule, ...lines].map(line).join("\n")}\n\n×: of "${referenceOf(rows)?.title ?? ""}".\n`;
}
