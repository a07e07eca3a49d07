/** @file Runs that have been submitted and not yet waited for, so that the device never waits for the host. */

/** Runs in flight before the oldest is waited for. */
export const LATE = 2;

/** A queue of results to come. A failure is thrown where its result is taken, and nowhere else. */
export class InFlight<T> {
  readonly #results: Promise<T>[] = [];

  get length(): number {
    return this.#results.length;
  }

  push(result: Promise<T>): void {
    result.catch(() => undefined); // its turn to be thrown has not come
    this.#results.push(result);
  }

  /** The oldest results: all of them, or as many as it takes to leave `keep` in flight. */
  async *take({ keep = 0 } = {}): AsyncGenerator<T, void, undefined> {
    while (this.#results.length > keep) {
      const oldest = this.#results.shift();
      if (oldest !== undefined) yield await oldest;
    }
  }

  /** Resolves when nothing is in flight any more, whatever became of it. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#results.splice(0));
  }
}
