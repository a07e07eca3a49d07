/** @file The control that BitFit is compared with: as many numbers, chosen by lot. */
import { defineMethod, type Init, rngOf, type Site, type Wrap, z, zeros } from "@graftml/peft";
import { add, gather, reshape, type Shape, sizeOf } from "@graftml/tensor";

/** Which numbers of a parameter are trained. */
interface Lot {
  readonly fraction: number;
  readonly pattern: "scalars" | "lines";
  readonly seed: number;
}

/** The lot of one parameter: for each number its place among those trained, or −1; and how many there are. */
interface Drawn {
  readonly slots: Int32Array;
  readonly count: number;
}

/**
 * Draws without replacement, the same for every run with the same seed. Of n things a fraction f is taken: ⌊f·n + u⌋ of them
 * with u uniform, so that small parameters have their share on average.
 * @see Knuth, The Art of Computer Programming, §3.4.2, algorithm S.
 */
function draw({ fraction, pattern, seed }: Lot, path: string, shape: Shape): Drawn {
  const rng = rngOf(seed, path);
  const [rows = 1, columns = 1] = shape.length === 2 && pattern === "lines" ? shape : [sizeOf(shape), 1];
  const byRow = columns === 1 || rng.uniform() < 0.5;
  const lines = byRow ? rows : columns;
  const taken = new Uint8Array(lines);
  let left = Math.min(lines, Math.floor(fraction * lines + rng.uniform()));
  for (let line = 0; line < lines; line++)
    if (rng.uniform() * (lines - line) < left) {
      taken[line] = 1;
      left--;
    }
  let count = 0;
  const slotOf = (_: number, i: number): number =>
    taken[byRow ? Math.floor(i / columns) : i % columns] === 1 ? count++ : -1;
  return { slots: new Int32Array(sizeOf(shape)).map(slotOf), count };
}

/**
 * Trains what is added to a random choice of the model's numbers, θ + S·w: w starts at zero, S puts each of its numbers at
 * its place. The choice follows from the seed in the configuration and the parameter's name.
 *
 * @see Ben Zaken et al. 2021, https://arxiv.org/abs/2106.10199, §4 ("Fewer bias parameters", random subsets); its code's
 *   `rand_uniform` and `rand_row_col`.
 */
export const randomSubset = defineMethod({
  contract: 1,
  name: "random-subset",
  group: "specification",
  source: "https://arxiv.org/abs/2106.10199",
  config: z.object({
    fraction: z.number().gt(0).max(1).default(0.001).describe("Share of the numbers of every parameter, above 0."),
    pattern: z
      .enum(["scalars", "lines"])
      .default("scalars")
      .describe("What is drawn: single numbers, or whole rows or columns of matrices."),
    seed: z.int().min(0).default(0).describe("Decides the choice; the run's own seed does not."),
  }),
  adapt(lot) {
    // A model is traced several times, and drawing lots for all of its numbers takes a while.
    const drawn = new Map<string, Drawn>();
    const drawnAt = ({ path, shape }: Site): Drawn => {
      const known = drawn.get(path) ?? draw(lot, path, shape);
      drawn.set(path, known);
      return known;
    };
    const wrap: Wrap<"param"> = (_, next, { own, site }) => {
      const { count, slots } = drawnAt(site);
      if (count === 0) return next();
      const places: Init = () => slots;
      const added = gather(
        own("values", [count, 1], zeros),
        own("slots", site.shape, places, { trainable: false, persist: false, dtype: "i32" }),
      );
      return add(next(), reshape(added, site.shape));
    };
    return { param: { at: (site) => !site.roles.includes("head"), wrap } };
  },
});
