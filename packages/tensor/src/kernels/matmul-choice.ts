/** @file Which kernel computes a block of a matrix product: by adapter, layout, shape and alignment. */
import type { Encoding } from "../encoding.ts";
import type { MatmulLayout } from "../ops/linear.ts";
import type { Rows, Span } from "./cuts.ts";
import { type LanesTile, lanesText } from "./matmul-lanes.ts";
import { type Formats, type Loader, type Reading, widthFor } from "./matmul-parts.ts";
import { type SharedTile, tilesText } from "./matmul-tiles.ts";
import type { CodedOperand } from "./matmul.ts";
import type { Target } from "./target.ts";

/** Rows and columns of the result, and what is summed over. */
export type Axis = "M" | "N" | "K";

/** An operand as it lies in memory, row after row. */
export interface Matrix extends Rows {
  /** The axes that its rows and its columns are. */
  readonly rows: Axis;
  readonly columns: Axis;
  /** Elements of a row, bytes of an element, and how they are read. */
  readonly ld: number;
  readonly bytes: number;
  readonly loader: Loader;
}

/** A product of two matrices. */
export interface Product {
  readonly layout: MatmulLayout;
  readonly a: Matrix;
  readonly b: Matrix;
  /** How a bias is read, and which input it is, if there is one. */
  readonly bias: Loader;
  readonly biasInput: number | null;
  /** The second operand, where it is codes. */
  readonly codes: CodedOperand | null;
  /** Elements of a row of the result. */
  readonly ldc: number;
  /** Products of these sizes side by side. */
  readonly items: number;
}

/** What one dispatch computes: some of the rows and columns, and some of the terms of their sums. */
export type Block = Readonly<Record<Axis, Span>>;

/** A kernel's text with what must be known to dispatch it. */
export interface Choice {
  readonly label: string;
  readonly code: string;
  readonly formats: Formats;
  /** The tile of one workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Terms of the sum in one workgroup: all of them, or fewer so that there is work to share. */
  readonly chunk: number;
}

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** The kernel for a block. */
export const choose = (product: Product, block: Block, target: Target): Choice =>
  target.family === "lanes" ? chooseLanes(product, block, target) : chooseTiles(product, block, target);

/** How an operand is read in tiles of `depth`: as widely as its rows and the block's edges allow. */
function reading(matrix: Matrix, block: Block, tile: Tile, lanes: number): Reading {
  const { columns, ld, loader } = matrix;
  const { start, length } = block[columns];
  const [most, contiguous] = columns === "K" ? ([tile.depth, "k"] as const) : ([4, "edge"] as const);
  const steady = loader.encoding === undefined || lanes === 0 ? 0 : steadiness(matrix, loader.encoding, tile, lanes);
  return { loader, contiguous, width: widthFor(most, ld, start, length), steady };
}

/**
 * Terms of the sum for which codes have their scales read once. Where rows lie along k those are of whole blocks, if rows
 * begin with one. Where they lie along the edge, and the tile's share of a row is of one block, each lane reads one row's.
 */
function steadiness({ columns, ld }: Matrix, { block }: Encoding, tile: Tile, lanes: number): number {
  if (columns === "K") return block === null ? Infinity : ld % block === 0 ? block : 0;
  return block === null || (block % tile.columns === 0 && ld % block === 0) ? lanes : 0;
}

type Tile = LanesTile | SharedTile;

const tileCount = ({ M, N }: Block, tile: Tile): number =>
  Math.ceil(M.length / tile.rows) * Math.ceil(N.length / tile.columns);

/**
 * Terms of one part of the sum: all K where the result has `enough` tiles, else so few that there are about `wanted`
 * workgroups, but not under 256; and all K of products side by side, which make work enough. Parts go to planes of scratch memory, for which N is whole, and which must fit a binding.
 */
function chunkOf(
  { items }: Product,
  block: Block,
  { tile, b }: { readonly tile: Tile; readonly b: Reading },
  enough: number,
  wanted: number,
  { maxBinding }: Target,
): number {
  const [K, tiles] = [block.K.length, tileCount(block, tile)];
  const parts = Math.min(Math.ceil(wanted / tiles), Math.floor(K / 256));
  const fits = 4 * block.M.length * block.N.length * parts <= maxBinding;
  const unit = Number.isFinite(b.steady) ? Math.max(b.steady, tile.depth) : tile.depth;
  return tiles >= enough || parts < 2 || !fits || block.N.cut || items > 1 ? K : roundUp(K / parts, unit);
}

/** Edges of thin tiles: ranks of an adapter, rows of a decoding batch. Up to 8 exact, since padding would cost most there. */
const thinEdges: readonly number[] = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16];

/**
 * What a tile costs on the software adapter, in instructions up to a factor: loading its panels, multiplying, storing.
 * Fitted to lavapipe, where it ranks tiles from 8×32 to 32×64 within 10 % of their measured speed.
 */
const lanesCost = ({ rows, columns }: LanesTile, K: number): number =>
  K * (13 * (rows + columns) + 0.75 * rows * columns) + 10 * rows * columns;

/**
 * The depth of a tile: `most` if K is a multiple of it. Else rows are read value by value along k, and a turn of 2 is the
 * best, its last one half empty; except for sums so short that the empty half would be felt.
 */
const depthFor = (most: number, K: number): number => (K % most === 0 ? most : K % 2 === 0 || K > 8 ? 2 : 1);

function chooseLanes(product: Product, block: Block, target: Target): Choice {
  const { layout, a, b, bias, ldc, items } = product;
  const lanes = target.subgroup;
  const [M, N, K] = [block.M.length, block.N.length, block.K.length];
  const tile = (rows: number, columns: number, most: number, along: "M" | "N" = "N"): LanesTile => {
    const depth = depthFor(most, K);
    // Blocks of a cut sum share a text, whether their lengths are even or not.
    return { rows, columns, depth, ragged: block.K.cut || K % depth !== 0, along };
  };
  const thin = (n: number): number[] => thinEdges.filter((edge) => edge >= n).slice(0, 1);
  // The widest tile has 256 sums a lane: more do not compile in reasonable time, and more than 24 KB of machine code run
  // at half the speed. Sums that are loaded or stored one by one take more code, so there are fewer of them.
  const four = 4 * lanes;
  const high = Math.min(four, 32);
  const whole = widthFor(4, ldc, N) === 4;
  const wide = Math.max(four, whole ? Math.min(8 * lanes, 64) : Math.min(6 * lanes, 48));
  // Rows that lie a multiple of 4 KB apart evict each other from the first cache: then it is better to read fewer rows, and
  // more of each.
  const crowded = layout === "nt" && b.rowBytes % 4096 === 0;
  const candidates = [
    crowded ? tile(high, four, 4) : tile(high, wide, 2),
    tile(2 * lanes, four, 4),
    ...thin(M).map((rows) => tile(rows, four, 4)),
    ...thin(N).map((columns) => tile(four, columns, 4, "M")),
  ];
  // Few workgroups leave cores idle, so they count in fours; and another text must be worth its compilation.
  const cost = (t: LanesTile): number => Math.ceil((items * tileCount(block, t)) / 4) * lanesCost(t, K);
  const best = candidates.reduce((chosen, t) => (cost(t) < 0.8 * cost(chosen) ? t : chosen));
  const left = reading(a, block, best, lanes);
  const right = reading(b, block, best, lanes);
  // Along N, lanes that hold vectors store just those, and single sums are stored in vectors of neighbours. Along M,
  // neighbours are other sums of the same lane.
  const most = best.along === "M" ? best.columns : right.contiguous === "k" ? best.columns / lanes : right.width;
  const out = widthFor(4, most, ldc, N, block.N.start);
  const label = `matmul ${layout} ${best.rows}x${best.columns}`;
  const formats = { a: left, b: right, bias, out };
  return {
    ...best,
    label,
    formats,
    code: lanesText(best, formats, lanes),
    chunk: chunkOf(product, block, { tile: best, b: right }, 4, 8, target),
  };
}

/** Squares, and stripes for thin results. Chosen by what is known of GPUs: none was measured. */
function chooseTiles(product: Product, block: Block, target: Target): Choice {
  const { layout, a, b, bias, ldc } = product;
  const [M, N] = [block.M.length, block.N.length];
  const tile: SharedTile = { rows: M <= 16 ? 16 : 64, columns: N <= 16 ? 16 : 64, depth: 16 };
  const [left, right] = [reading(a, block, tile, 0), reading(b, block, tile, 0)];
  const formats = { a: left, b: right, bias, out: widthFor(4, ldc, N, block.N.start) };
  const label = `matmul ${layout} ${tile.rows}x${tile.columns}`;
  return {
    ...tile,
    label,
    formats,
    code: tilesText(tile, formats),
    chunk: chunkOf(product, block, { tile, b: right }, 64, 64, target),
  };
}
