/** @file What of a program is submitted at once. */
import type { Move, Schedule } from "./schedule.ts";

/** Calls of one submission, and the copies around them. */
export interface Part {
  /** Values that come back from the host before its calls. */
  readonly restores: readonly Move[];
  /** The first call, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** Values that are copied to the host after its calls. */
  readonly keeps: readonly Move[];
}

/** Dispatches in one submission: enough to make its cost vanish, few enough that the device starts early and no watchdog bites. */
const SUBMISSION = 1024;

/** Cuts a program into submissions: at least one. A copy to the host ends its own, so that it can be waited for early. */
export function partsOf({ calls, moves }: Pick<Schedule, "calls" | "moves">): readonly Part[] {
  const parts: { restores: Move[]; from: number; to: number; keeps: Move[] }[] = [];
  const begin = (from: number) => {
    const part = { restores: [], from, to: from, keeps: [] };
    parts.push(part);
    return part as (typeof parts)[number];
  };
  let part = begin(0);
  const advance = (end: number): void => {
    while (part.to < end) {
      if (part.keeps.length > 0 || part.to - part.from === SUBMISSION) part = begin(part.to);
      part.to = Math.min(end, part.from + SUBMISSION);
    }
  };
  for (const move of moves) {
    advance(move.before);
    if (move.to === "host") part.keeps.push(move);
    else {
      if (part.to > part.from || part.keeps.length > 0) part = begin(move.before);
      part.restores.push(move);
    }
  }
  advance(calls.length);
  return parts;
}
