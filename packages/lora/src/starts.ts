/** @file Where A and B start, and what of that start is taken away again so that a fresh adapter changes nothing. */
import {
  type Base,
  ConfigError,
  copyOf,
  type Here,
  type Init,
  kaimingUniform,
  normal,
  type Rng,
  rngOf,
  zeros,
} from "@graftml/peft";
import { type LoraConfig, type Part, rankAt, scaleAt } from "./config.ts";
import { type Matrix, matrix, orthonormalRows, singular, timesTransposed, transposed } from "./matrix.ts";

/** Starting values of A [r, in] and B [out, r]. */
export interface Start {
  readonly A: Init;
  readonly B: Init;
  /** Whether s·B·A at the start is not zero, and has to be subtracted. */
  readonly offset: boolean;
}

/** The start that the configuration asks for at a part of a linear. */
export function startAt(c: LoraConfig, { site }: Here<"linear">, { from, out }: Part): Start {
  const r = rankAt(c, site);
  if (c.init === "default" || c.init === "gaussian")
    return { A: c.init === "gaussian" ? normal(1 / r) : kaimingUniform, B: zeros, offset: false };
  if (r > Math.min(out, site.in))
    throw new ConfigError(
      `lora.rank: ${site.path} is ${out}×${site.in}; a start from its own factors (init: "${c.init}") has rank ${Math.min(out, site.in)} at most, not ${r}.`,
    );
  const factors = c.init === "pissa" ? principal(scaleAt(c, site)) : orthonormal;
  let known: { readonly base: Base; readonly pair: Promise<Factors> } | null = null;
  /** Both come from the same factors, which take a while. */
  const pairOf = async (rng: Rng, base: Base): Promise<Factors> => {
    if (known?.base !== base) {
      const read = async (): Promise<Factors> => {
        const all = Float64Array.from(await copyOf(site.weight)([site.out, site.in], rng, base));
        return factors(matrix(out, site.in, all.slice(from * site.in, (from + out) * site.in)), r);
      };
      known = { base, pair: read() };
    }
    return known.pair;
  };
  return {
    A: async (_, rng, base) => (await pairOf(rng, base)).A.values,
    B: async (_, rng, base) => (await pairOf(rng, base)).B.values,
    offset: true,
  };
}

/** A [r, in] and B [out, r]. */
interface Factors {
  readonly A: Matrix;
  readonly B: Matrix;
}

/** PiSSA: the principal part of W, U_r S_r V_rᵀ = s·B·A, shared evenly. @see Meng et al. 2024, §3. */
const principal =
  (scale: number) =>
  (w: Matrix, r: number): Factors => {
    const { u, s, v } = singular(w, r, rngOf(0, "pissa").normal); // any start of the iteration, as long as it is one
    const root = Array.from(s, (x) => Math.sqrt(x / Math.abs(scale)));
    const scaled = ({ rows, columns, values }: Matrix): Matrix =>
      matrix(
        rows,
        columns,
        values.map((x, i) => x * (root[Math.floor(i / columns)] ?? NaN)),
      );
    return { A: scaled(v), B: transposed(scaled(u)) };
  };

/** OLoRA: W = QR; B is the first columns of Q, A the first rows of R. @see Büyükakyüz 2024, §3. */
function orthonormal(w: Matrix, r: number): Factors {
  const columns = transposed(w); // [in, out]
  const q = orthonormalRows(matrix(r, w.rows, columns.values.slice(0, r * w.rows))); // Qᵀ [r, out]
  return { A: timesTransposed(q, columns), B: transposed(q) };
}
