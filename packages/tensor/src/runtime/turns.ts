/** @file Turns at the device's queue: a run that waits for the host in its middle must not be interrupted. */

/** What is to be done in one turn: over when it returns, or when the promise it returns settles. */
type Turn = () => Promise<void> | undefined;

/** Lets turns follow each other in the order in which they are asked for. */
export class Turns {
  #taken = false;
  readonly #waiting: (() => void)[] = [];

  /** Whether a turn asked for now would begin at once. */
  get free(): boolean {
    return !this.#taken;
  }

  /** Begins a turn, at once if none is under way. Undefined if it is over already; else a promise that it will be. */
  take(turn: Turn): Promise<void> | undefined {
    if (!this.#taken) return this.#begin(turn);
    return new Promise<void>((resolve, reject) => {
      this.#waiting.push(() => {
        try {
          resolve(this.#begin(turn));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #begin(turn: Turn): Promise<void> | undefined {
    const over = turn();
    this.#taken = over !== undefined;
    return over?.finally(() => {
      this.#taken = false;
      while (!this.#taken && this.#waiting.length > 0) this.#waiting.shift()?.();
    });
  }
}
