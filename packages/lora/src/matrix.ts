/** @file Factors of matrices on the host, in float64. */

/** A matrix, row by row. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

/** A matrix of zeros, or of what is put into it. */
export const matrix = (
  rows: number,
  columns: number,
  values: Float64Array = new Float64Array(rows * columns),
): Matrix => ({
  rows,
  columns,
  values,
});

const row = ({ columns, values }: Matrix, i: number): Float64Array => values.subarray(i * columns, (i + 1) * columns);

/** Aᵀ */
export function transposed(a: Matrix): Matrix {
  const out = matrix(a.columns, a.rows);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < a.columns; j++) out.values[j * a.rows + i] = a.values[i * a.columns + j] ?? NaN;
  return out;
}

/** A·Bᵀ: [M, K]·[N, K]ᵀ → [M, N] */
export function timesTransposed(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.rows);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < b.rows; j++) out.values[i * b.rows + j] = dot(row(a, i), row(b, j));
  return out;
}

/** A·B: [M, K]·[K, N] → [M, N] */
export function times(a: Matrix, b: Matrix): Matrix {
  const out = matrix(a.rows, b.columns);
  for (let i = 0; i < a.rows; i++)
    for (let k = 0; k < a.columns; k++) addTo(row(out, i), row(b, k), a.values[i * a.columns + k] ?? NaN);
  return out;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? NaN) * (b[i] ?? NaN);
  return sum;
}

/** a ← a + factor · b */
function addTo(a: Float64Array, b: Float64Array, factor: number): void {
  for (let i = 0; i < a.length; i++) a[i] = (a[i] ?? NaN) + factor * (b[i] ?? NaN);
}

/**
 * Orthonormal rows that span those of A, each in the span of the rows up to its own: Qᵀ of a QR factorization of Aᵀ, up to
 * signs. A row that the others span already becomes zero. (Gram and Schmidt, twice, which is enough.)
 */
export function orthonormalRows(a: Matrix): Matrix {
  const q = matrix(a.rows, a.columns, a.values.slice());
  for (let i = 0; i < q.rows; i++) {
    const x = row(q, i);
    const before = Math.sqrt(dot(x, x));
    for (const _ of [1, 2]) for (let j = 0; j < i; j++) addTo(x, row(q, j), -dot(row(q, j), x));
    const length = Math.sqrt(dot(x, x));
    const factor = length > before * 1e-12 ? 1 / length : 0;
    x.forEach((v, k) => (x[k] = v * factor));
  }
  return q;
}

/** The largest singular values of a matrix [M, N] and what belongs to them: A ≈ Σ sᵢ uᵢ vᵢᵀ. */
export interface Singular {
  /** Uᵀ, [r, M] */
  readonly u: Matrix;
  /** Largest first, [r] */
  readonly s: Float64Array;
  /** Vᵀ, [r, N] */
  readonly v: Matrix;
}

/**
 * Turns of the power iteration at most, and the growth of what the block holds of A, relative, at which it ends. Directions
 * that so many turns do not tell apart have nearly equal values, and any of them serves as well.
 */
const [TURNS, SETTLED] = [24, 1e-14];

/**
 * The r largest singular values with their vectors, by power iteration over a block of r and some more rows.
 * @param draw standard normal numbers.
 * @see Halko, Martinsson & Tropp 2011, algorithm 4.4.
 */
export function singular(a: Matrix, r: number, draw: () => number): Singular {
  const width = Math.min(2 * r + 8, a.rows, a.columns);
  const turned = transposed(a);
  let v = orthonormalRows(matrix(width, a.columns, new Float64Array(width * a.columns).map(draw))); // [width, N]
  for (let turn = 1, held = 0; ; turn++) {
    const u = orthonormalRows(timesTransposed(v, a)); // [width, M]
    const small = timesTransposed(u, turned); // Uᵀ A: [width, N]
    const before = held;
    held = dot(small.values, small.values);
    if (held - before <= SETTLED * held || turn === TURNS) {
      const found = jacobi(small, r);
      return { u: times(found.u, u), s: found.s, v: found.v };
    }
    v = orthonormalRows(small);
  }
}

/** All singular values of a low matrix [m, N], of which the r largest are kept: rows are turned until they are orthogonal. */
function jacobi(a: Matrix, r: number): Singular {
  const x = matrix(a.rows, a.columns, a.values.slice());
  const turns = matrix(a.rows, a.rows); // turns · A = X
  for (let i = 0; i < a.rows; i++) turns.values[i * a.rows + i] = 1;
  for (let sweep = 0, off = Infinity; off > 1e-12 && sweep < 30; sweep++) {
    off = 0;
    for (let i = 0; i < a.rows; i++)
      for (let j = i + 1; j < a.rows; j++) {
        const [p, q] = [row(x, i), row(x, j)];
        const [aa, bb, ab] = [dot(p, p), dot(q, q), dot(p, q)];
        if (Math.abs(ab) <= 1e-300) continue;
        off = Math.max(off, Math.abs(ab) / Math.sqrt(aa * bb));
        const zeta = (bb - aa) / (2 * ab);
        const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.hypot(1, t);
        rotate(p, q, c, c * t);
        rotate(row(turns, i), row(turns, j), c, c * t);
      }
  }
  const sizes = Array.from({ length: a.rows }, (_, i) => Math.sqrt(dot(row(x, i), row(x, i))));
  const order = [...sizes.keys()].sort((i, j) => (sizes[j] ?? 0) - (sizes[i] ?? 0)).slice(0, r);
  const s = Float64Array.from(order, (i) => sizes[i] ?? 0);
  const [u, v] = [matrix(order.length, a.rows), matrix(order.length, a.columns)];
  order.forEach((i, k) => {
    addTo(row(u, k), row(turns, i), 1);
    addTo(row(v, k), row(x, i), 1 / (sizes[i] || 1));
  });
  return { u, s, v };
}

/** (p, q) ← (c·p − s·q, s·p + c·q) */
function rotate(p: Float64Array, q: Float64Array, c: number, s: number): void {
  for (let i = 0; i < p.length; i++) {
    const [a, b] = [p[i] ?? NaN, q[i] ?? NaN];
    p[i] = c * a - s * b;
    q[i] = s * a + c * b;
  }
}
