/** @file Waiting for a run without taking a core from the device that computes it. */

/** Share of the time waited so far that the next nap takes: a result is noticed little later than it came. */
const SHARE = 0.02;
/** Longest nap, in ms. */
const LONGEST = 5;

/**
 * Waits for a result of a device.
 * @param nap blocks for so many ms and then lets events happen; null where waiting costs nothing.
 */
export async function waitFor<T>(result: Promise<T>, nap: ((ms: number) => Promise<void>) | null): Promise<T> {
  if (nap === null) return result;
  const begin = performance.now();
  const napped = async (): Promise<boolean> => {
    await nap(Math.min(SHARE * (performance.now() - begin), LONGEST));
    return false;
  };
  const settled = (): boolean => true;
  const over = result.then(settled, settled);
  while (!(await Promise.race([over, napped()]))) continue;
  return result;
}
