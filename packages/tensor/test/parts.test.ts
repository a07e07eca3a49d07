import { describe, expect, it } from "vitest";
import { partsOf } from "../src/runtime/parts.ts";
import type { Call, Move } from "../src/runtime/schedule.ts";

const calls = (n: number): readonly Call[] => Array.from({ length: n }) as unknown as Call[]; // only counted
const move = (to: Move["to"], before: number, held: number): Move => ({
  to,
  before,
  held,
  last: to === "device",
  device: { buffer: held, offset: 0, size: 4 },
});
/** "r0 2-5 k1": what is restored, the calls, what is kept. */
const shown = (n: number, moves: readonly Move[] = []): readonly string[] =>
  partsOf({ calls: calls(n), moves }).map(({ restores, from, to, keeps }) =>
    [...restores.map((m) => `r${m.held}`), `${from}-${to}`, ...keeps.map((m) => `k${m.held}`)].join(" "),
  );

describe("partsOf", () => {
  it("submits a program at once, in pieces where it is long, and one without calls for its outputs", () => {
    expect(shown(7)).toEqual(["0-7"]);
    expect(shown(2050)).toEqual(["0-1024", "1024-2048", "2048-2050"]);
    expect(shown(0)).toEqual(["0-0"]);
  });

  it("ends a submission where a value goes to the host, and begins one where it comes back", () => {
    const moves = [move("host", 2, 0), move("host", 4, 1), move("device", 6, 1), move("device", 8, 0)];
    expect(shown(10, moves)).toEqual(["0-2 k0", "2-4 k1", "4-6", "r1 6-8", "r0 8-10"]);
  });

  it("moves several values at once, and one before or after all calls", () => {
    expect(shown(3, [move("host", 0, 0), move("host", 0, 1), move("device", 1, 0), move("device", 1, 1)])).toEqual([
      "0-0 k0 k1",
      "0-1",
      "r0 r1 1-3",
    ]);
    expect(shown(1, [move("host", 1, 0), move("device", 1, 0)])).toEqual(["0-1 k0", "r0 1-1"]);
  });
});
