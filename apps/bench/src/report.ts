/** @file What suites report, and how it is printed. */

/** One line of a suite's table: a name and figures with their units in their keys ("ms", "GFLOP/s"). */
export interface Row {
  readonly name: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** What one suite found. */
export interface Report {
  readonly suite: string;
  readonly rows: readonly Row[];
}

/** Three significant digits. */
const brief = (x: number): string => (Number.isFinite(x) ? String(Number(x.toPrecision(3))) : "–");

/** The report as a table for a terminal. */
export function table({ suite, rows }: Report): string {
  const columns = [...new Set(rows.flatMap(({ figures }) => Object.keys(figures)))];
  const cells = rows.map(({ name, figures }) => [
    name,
    ...columns.map((c) => (figures[c] === undefined ? "" : brief(figures[c]))),
  ]);
  const all = [[suite, ...columns], ...cells];
  const widths = all[0]?.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ");
  return [line(all[0] ?? []), widths.map((w) => "─".repeat(w)).join("──"), ...cells.map(line)].join("\n");
}
