/** @file Timing by alternation: every contender runs once a round, so that a busy moment of the machine hits them all. */

/** Something to time. */
export interface Contender {
  readonly name: string;
  /** Runs once and resolves when the device is done. */
  run(): Promise<void>;
}

/** What was measured of one contender, in ms. */
export interface Timing {
  readonly name: string;
  readonly median: number;
  readonly best: number;
  readonly rounds: number;
}

/** Middle of a list of numbers. */
export function median(xs: readonly number[]): number {
  const sorted = xs.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = NaN, high = NaN] = [sorted[middle - 1 + (sorted.length % 2)], sorted[middle]];
  return (low + high) / 2;
}

/** Times contenders in turn: `warm` untimed rounds, then `rounds` timed ones. */
export async function alternate(
  contenders: readonly Contender[],
  { rounds, warm = 2 }: { readonly rounds: number; readonly warm?: number },
): Promise<readonly Timing[]> {
  const times = contenders.map(() => [] as number[]);
  for (let round = -warm; round < rounds; round++)
    for (const [i, { run }] of contenders.entries()) {
      const from = performance.now();
      await run();
      if (round >= 0) times[i]?.push(performance.now() - from);
    }
  return contenders.map(({ name }, i) => {
    const of = times[i] ?? [];
    return { name, median: median(of), best: Math.min(...of), rounds: of.length };
  });
}
