/** @file Several pairs of factors at one linear, folded into the one that PEFT's files hold. */
import type { InterchangeContext, NamedValues, ShapedValues, Site } from "@graftml/peft";
import type { Values } from "@graftml/tensor";

/** A pair of factors of some rows of a linear: ±B·A. */
interface Pair {
  /** [r, in] */
  readonly A: ShapedValues;
  /** [out, r] */
  readonly B: ShapedValues;
  /** First row of the linear's outputs that they change. */
  readonly from: number;
  /** 1, or −1 where they are subtracted. */
  readonly sign: number;
}

/** What is owned, with one A [Σr, in] and B [out, Σr] for each linear: Σ ±BᵢAᵢ is [±B₁ ±B₂ …]·[A₁; A₂; …]. */
export function folded(owned: NamedValues, { sites }: InterchangeContext): NamedValues {
  const plain = new Map(owned);
  for (const site of sites) {
    if (site.kind !== "linear") continue;
    const found = pairsIn(site, owned);
    if (found.every(({ which, part }) => which === "" && part === "")) continue;
    for (const { which, part } of found)
      for (const factor of ["A", "B"]) plain.delete(nameOf(site, factor, which, part));
    const pairs = found.map((f) => f.pair);
    plain.set(nameOf(site, "A", "", ""), stacked(pairs, site));
    plain.set(nameOf(site, "B", "", ""), beside(pairs, site));
  }
  return plain;
}

const nameOf = ({ path }: Site, factor: string, which: string, part: string): string =>
  `${path}.lora_${factor}${which}${part}.weight`;

function pairsIn(site: Site, owned: NamedValues): readonly { which: string; part: string; pair: Pair }[] {
  const parts = ["", ...site.roles.map((role) => `.${role}`)];
  return ["", "0"].flatMap((which) =>
    parts.flatMap((part, i) => {
      const A = owned.get(nameOf(site, "A", which, part));
      const B = owned.get(nameOf(site, "B", which, part));
      const from = i === 0 ? 0 : ((i - 1) * site.out) / site.roles.length;
      return A && B ? [{ which, part, pair: { A, B, from, sign: which === "" ? 1 : -1 } }] : [];
    }),
  );
}

const blank = (like: Values | undefined, size: number): Values =>
  like instanceof Float32Array ? new Float32Array(size) : new Float64Array(size);

const widthOf = (pairs: readonly Pair[]): number => pairs.reduce((sum, { A }) => sum + (A.shape[0] ?? 0), 0);

function stacked(pairs: readonly Pair[], site: Site): ShapedValues {
  const values = blank(pairs[0]?.A.values, widthOf(pairs) * site.in);
  let row = 0;
  for (const { A } of pairs) {
    values.set(A.values, row * site.in);
    row += A.shape[0] ?? 0;
  }
  return { shape: [row, site.in], values };
}

function beside(pairs: readonly Pair[], site: Site): ShapedValues {
  const width = widthOf(pairs);
  const values = blank(pairs[0]?.B.values, site.out * width);
  let column = 0;
  for (const { B, from, sign } of pairs) {
    const [rows = 0, r = 0] = B.shape;
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < r; j++) values[(from + i) * width + column + j] = sign * (B.values[i * r + j] ?? NaN);
    column += r;
  }
  return { shape: [site.out, width], values };
}
