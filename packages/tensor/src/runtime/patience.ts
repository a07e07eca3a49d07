/** @file Waiting for runs without polling all the while, by the time that the last ones took. */

/** Part of the expected time that is slept through; the rest is for runs that end early. */
const ASLEEP = 0.9;
/** Milliseconds of sleep that are worth it; timers are no more precise than one of them. */
const WORTH_IT = 4;

/** Learns how long the runs of a program take. */
export class Patience {
  /** Milliseconds that the last two runs took. The first run of all also compiles shaders, so one alone says nothing. */
  #last: readonly [number, number] = [0, 0];

  /** Waits for `settle`, but calls it only when most of the time has passed; `sleep` is null where waiting costs nothing. */
  async wait(sleep: ((ms: number) => Promise<void>) | null, settle: () => Promise<unknown>): Promise<void> {
    const begin = performance.now();
    const ms = ASLEEP * Math.min(...this.#last);
    if (sleep !== null && ms > WORTH_IT) await sleep(ms);
    const awake = performance.now();
    await settle();
    const took = performance.now() - begin;
    const overslept = performance.now() - awake < 0.5 + 0.02 * took;
    this.#last = [this.#last[1], overslept ? took / 2 : took];
  }
}
