import { stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import type { Io } from "./io.ts";
import { bytes, duration, memory, percent, progress, sparkline, thousands } from "./render.ts";

/** A terminal or a file that keeps what is written to it. */
function screen({ live, width = 80 }: { readonly live: boolean; readonly width?: number }): {
  readonly io: Io;
  readonly text: () => string;
} {
  let text = "";
  return {
    io: { json: false, live, width, out: () => undefined, err: (piece) => void (text += piece), begun: false },
    text: () => text,
  };
}

/** Runs a progress display over a falling loss, a step every second of an own clock. */
function shown(options: { readonly live: boolean; readonly width?: number }, steps: number): string {
  const { io, text } = screen(options);
  let clock = 0;
  const display = progress(io, steps, { now: () => clock });
  for (let step = 1; step <= steps; step++, clock += 1000)
    display.step({ step, loss: 4 - step / steps, tokens: 500, ms: 1000 });
  display.end();
  return text();
}

describe("numbers", () => {
  it("are short and exact", () => {
    expect([bytes(0), bytes(999), bytes(1000), bytes(12_345_678), bytes(4.9e9)]).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "12.3 MB",
      "4.9 GB",
    ]);
    expect([duration(0), duration(65_400), duration(7_265_000)]).toEqual(["0:00", "1:05", "2:01:05"]);
    expect([percent(0.04752), percent(1), percent(0.000123)]).toEqual(["4.75 %", "100 %", "0.0123 %"]);
    expect(thousands(1234567)).toBe("1,234,567");
    expect(memory({ weights: 2e6, activations: 3e6, transfer: 0 })).toBe("5.0 MB: activations 3.0 MB, weights 2.0 MB");
  });

  it("are drawn as bars from the lowest to the highest", () => {
    expect(sparkline([3, 2, 1], 8)).toBe("█▅▁");
    expect(sparkline([1, 1, 1], 2)).toBe("▁▁");
    expect(
      sparkline(
        Array.from({ length: 100 }, (_, i) => i),
        10,
      ),
    ).toHaveLength(10);
  });
});

describe("progress", () => {
  it("is about twelve lines where nothing can be rewritten", () => {
    const lines = shown({ live: false }, 1000).trim().split("\n");
    expect(lines.length).toBeLessThan(16);
    expect(lines[0]).toBe("step    1/1000  loss 3.9990  500 tokens/s  16:39 left");
    expect(lines.at(-1)).toBe("step 1000/1000  loss 3.0000  500 tokens/s  done");
  });

  it.each([20, 60, 80, 120])("is one line on a terminal of %i columns, and no longer", (width) => {
    const text = shown({ live: true, width }, 50);
    expect(text.match(/\n/g)).toHaveLength(1);
    const frames = text
      .trimEnd()
      .split("\r")
      .map((frame) => stripVTControlCharacters(frame));
    expect(Math.max(...frames.map((frame) => frame.length))).toBeLessThan(Math.max(width, 54));
    expect(frames.at(-1)).toMatch(/^step 50\/50 {2}loss 3\.0000 .*done$/);
  });

  it("makes room for a note", () => {
    const { io, text } = screen({ live: true });
    const display = progress(io, 2);
    display.step({ step: 1, loss: 1, tokens: 1, ms: 1 });
    display.note("held-out loss 2");
    expect(text().endsWith("\r\u001B[2Kheld-out loss 2\n")).toBe(true);
  });
});
