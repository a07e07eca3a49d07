import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { emptyFolder } from "../../test/helpers.ts";
import { UsageError } from "../errors.ts";
import type { Row } from "./row.ts";
import { full, openSpool } from "./spool.ts";

const rows: readonly Row[] = Array.from({ length: 300 }, (_, i) => ({
  text: "é🌲".repeat(i % 17),
  label: i / 2,
  image: { width: 1, height: i, pixels: new Uint8Array(3 * i).fill(i) },
  origin: `a.jsonl:${i}`,
}));

function spooled(held?: number) {
  const folder = emptyFolder();
  const spool = openSpool<Row>({ folder, ...(held !== undefined && { held }) });
  rows.forEach(spool.add);
  return { spool, folder };
}

describe("values that are put aside", () => {
  it.each([2 ** 24, 1000, 1])("come back as they were, in any order, where %d bytes are held", (held) => {
    const { spool } = spooled(held);
    expect(spool).toHaveLength(300);
    for (const i of [299, 0, 150, 151, 7]) expect(spool.at(i)).toEqual(rows[i]);
    expect(Array.from(rows, (_, i) => spool.at(i))).toEqual(rows);
    expect([spool.at(-1), spool.at(300)]).toEqual([undefined, undefined]);
  });

  it("stay as they were read when others are added", () => {
    const { spool } = spooled(1000);
    const [written, pending] = [spool.at(0), spool.at(299)];
    rows.forEach(spool.add);
    expect([written, pending]).toEqual([rows[0], rows[299]]);
    expect(spool.at(599)).toEqual(rows[299]);
  });

  it("leave no file behind, however the process ends: theirs has no name", () => {
    expect(readdirSync(spooled(1000).folder)).toEqual([]);
  });

  it("are refused where the disk is full, with what can be done", () => {
    const cause = Object.assign(new Error("no space left"), { code: "ENOSPC" });
    expect(full(cause, "aside")).toEqual(expect.any(UsageError));
    expect(String(full(cause, "aside"))).toMatch(/the disk is full: rows are put aside in aside .* TMPDIR/);
    expect(full(new Error("other"), "aside")).toEqual(new Error("other"));
  });
});
