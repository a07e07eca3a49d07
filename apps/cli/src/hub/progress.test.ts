import { stripVTControlCharacters } from "node:util";
import { afterEach, describe, expect, it, vi } from "vitest";
import { showDownloads } from "./progress.ts";

/** A download on a terminal or elsewhere: what it wrote, with the lines that were rewritten. */
function watch(live: boolean, width = 60) {
  const now = vi.spyOn(performance, "now").mockReturnValue(0);
  let written = "";
  const shown = showDownloads({ live, width, err: (text) => (written += text) }).begin({
    title: "org/name",
    total: 4_000_000,
    files: 3,
  });
  return {
    shown,
    at: (ms: number) => now.mockReturnValue(ms),
    lines: () => stripVTControlCharacters(written).split("\r"),
  };
}

describe("a note", () => {
  it("is said once", () => {
    let written = "";
    const { note } = showDownloads({ live: false, width: 60, err: (text) => (written += text) });
    for (const text of ["a", "b", "a"]) note(text);
    expect(written).toBe("a\nb\n");
  });
});

describe("a download", () => {
  afterEach(() => void vi.restoreAllMocks());

  it("is one line that is rewritten on a terminal, and one at the end", () => {
    const { shown, at, lines } = watch(true);
    shown.had(1_000_000);
    at(500);
    shown.add(1_000_000);
    at(1000);
    shown.add(2_000_000);
    shown.end();
    expect(lines()).toEqual([
      "org/name  2.0 MB of 4.0 MB  2.0 MB/s  0:01 left",
      "org/name  4.0 MB of 4.0 MB  3.0 MB/s  0:00 left",
      "org/name: 3 files, 3.0 MB in 0:01\n",
    ]);
  });

  it("fits a narrow terminal", () => {
    const { shown, at, lines } = watch(true, 20);
    at(500);
    shown.add(1_000_000);
    expect(lines().at(-1)).toBe("org/name  1.0 MB of");
  });

  it("is told elsewhere only when it took a while, and never where all was there", () => {
    const quick = watch(false);
    quick.shown.add(1_000_000);
    quick.shown.end();
    expect(quick.lines()).toEqual([""]);
    const long = watch(false);
    long.shown.add(1_000_000);
    long.at(5000);
    long.shown.end();
    expect(long.lines()).toEqual(["org/name: 3 files, 1.0 MB in 0:05\n"]);
    const there = watch(true);
    there.shown.had(4_000_000);
    there.at(5000);
    there.shown.end();
    expect(there.lines()).toEqual([""]);
  });
});
