/**
 * @file Lowers a matrix product: cuts what no binding holds into blocks, gives each block a kernel, and cuts the sum
 * where the result alone makes too little work to share.
 */
import { bytesPerElement } from "../dtype.ts";
import { bitsOf, type DequantizeAttrs } from "../encoding.ts";
import type { MatmulAttrs } from "../ops/linear.ts";
import type { Lowering, Spec } from "../ops/op.ts";
import type { Aval } from "../shape.ts";
import { codeBindings } from "./codes.ts";
import { codedRows, cut, firstScale, plainRows, rowsIn, type Span } from "./cuts.ts";
import { type Dispatch, grid, input, type Operand, output, scratch } from "./kernel.ts";
import { type Axis, type Block, type Choice, type Matrix, type Product, choose } from "./matmul-choice.ts";
import { biases, codesLoader, functions, loaderOf, type Sizes, vector, widthFor } from "./matmul-parts.ts";
import type { Target } from "./target.ts";
import { type Binding, dispatch, eachItem, itemGroups, wgsl } from "./wgsl.ts";

/** The second operand as codes: what they stand for, and how many inputs of the op take its place. */
export interface CodedOperand extends DequantizeAttrs {
  readonly parts: number;
}

/**
 * C = A·B in layout `nn` or `nt`, or `tn` without codes, plus a bias of N elements where there is a third input; or several
 * such products side by side.
 * @throws {ShapeError} for integer operands.
 * @throws {DeviceError} if the least part that an operand can be cut into is larger than a binding.
 */
export function matmulLowering(
  { inputs, outputs, attrs: { layout } }: Spec<MatmulAttrs>,
  target: Target,
  codes?: CodedOperand,
): Lowering {
  const [first, second, third] = inputs as readonly [Aval, Aval, Aval?]; // `infer` saw to it
  const [M = 0, N = 0] = outputs[0]?.shape.slice(-2) ?? [];
  const K = first.shape.at(layout === "tn" ? -2 : -1) ?? 0;
  const [items = 1] = first.shape.slice(0, -2);
  const product: Product = {
    layout,
    a: layout === "tn" ? matrix(first, "K", "M") : matrix(first, "M", "K"),
    b: layout === "nt" ? matrix(second, "N", "K", codes) : matrix(second, "K", "N", codes),
    bias: loaderOf(third?.dtype ?? second.dtype),
    biasInput: third === undefined ? null : 1 + (codes?.parts ?? 1),
    codes: codes ?? null,
    ldc: N,
    items,
  };
  if (items > 1) return { dispatches: sideBySide(product, { M, N, K }, target) };
  // An axis is cut where the rows along it do not fit a binding, in any matrix that has rows along it.
  const along = (axis: Axis): Matrix[] => [product.a, product.b].filter((x) => x.rows === axis);
  const ks = cut("matmul", K, along("K"), target.maxBinding);
  const ns = cut("matmul", N, along("N"), target.maxBinding);
  const ms = cut("matmul", M, [...along("M"), plainRows(4 * N)], target.maxBinding);
  const rectangles = ms.flatMap((m) => ns.map((n) => rectangle(product, m, n, ks, target)));
  const scratchBytes = Math.max(...rectangles.map((r) => r.scratchBytes));
  return { dispatches: rectangles.flatMap((r) => r.dispatches), ...(scratchBytes > 0 && { scratch: [scratchBytes] }) };
}

function matrix({ shape, dtype }: Aval, rows: Axis, columns: Axis, codes?: CodedOperand): Matrix {
  const ld = shape.at(-1) ?? 0;
  if (codes !== undefined) {
    const bytes = bitsOf(codes.encoding) / 8;
    return { rows, columns, ld, bytes, ...codedRows(codes), loader: codesLoader(codes.encoding) };
  }
  const bytes = bytesPerElement[dtype];
  return { rows, columns, ld, bytes, ...plainRows(ld * bytes), loader: loaderOf(dtype) };
}

/** Products side by side: as many in a dispatch as a binding holds the operands of. */
function sideBySide(product: Product, lengths: Readonly<Record<Axis, number>>, target: Target): readonly Dispatch[] {
  const whole = (axis: Axis): Span => ({ start: 0, length: lengths[axis], cut: false });
  const block = { M: whole("M"), N: whole("N"), K: whole("K") };
  const choice = choose(product, block, target);
  const { a, b, ldc, biasInput } = product;
  const left = plainRows(lengths[a.rows] * a.rowBytes);
  const right = plainRows(lengths[b.rows] * b.rowBytes);
  const result = plainRows(4 * lengths.M * ldc);
  return cut("matmul", product.items, [left, right, result], target.maxBinding).map((items) => {
    const to = output(0, rowsIn(items, result));
    const operands = [input(0, rowsIn(items, left)), input(1, rowsIn(items, right))] as const;
    return multiply(product, block, choice, { to, c0: 0, ldc, biased: biasInput !== null, items, operands }, target);
  });
}

/** What computes one rectangle of the result. */
interface Rectangle {
  readonly dispatches: readonly Dispatch[];
  readonly scratchBytes: number;
}

/** Blocks of the sum follow one another. One that is a single part goes to the result; parts go to planes and are added. */
function rectangle(product: Product, m: Span, n: Span, ks: readonly Span[], target: Target): Rectangle {
  const { ldc, biasInput } = product;
  const result = output(0, rowsIn(m, plainRows(4 * ldc)));
  const dispatches: Dispatch[] = [];
  let scratchBytes = 0;
  for (const k of ks) {
    const block = { M: m, N: n, K: k };
    const choice = choose(product, block, target);
    const planes = Math.ceil(k.length / choice.chunk);
    const keep = dispatches.length > 0;
    const bias = biasInput !== null && k === ks.at(-1);
    if (planes === 1 && !keep) {
      dispatches.push(multiply(product, block, choice, { to: result, c0: n.start, ldc, biased: bias }, target));
      continue;
    }
    scratchBytes = Math.max(scratchBytes, 4 * m.length * n.length * planes);
    dispatches.push(
      multiply(product, block, choice, { to: scratch(0, "write"), c0: 0, ldc: n.length, biased: false }, target),
    );
    dispatches.push(addUp(product, m, { to: result, planes, keep, biased: bias }, target));
  }
  return { dispatches, scratchBytes };
}

/** Where a product goes: the element at which the block or the first of its planes begins, and elements from row to row. */
interface Destination {
  readonly to: Operand;
  readonly c0: number;
  readonly ldc: number;
  readonly biased: boolean;
  /** Which of products side by side, and where the operands of the first of them begin. */
  readonly items?: Span;
  readonly operands?: readonly [Operand, Operand];
}

function multiply(product: Product, block: Block, choice: Choice, destination: Destination, target: Target): Dispatch {
  const { a, b } = product;
  const { to, c0, ldc, biased, items } = destination;
  const [M, N, K] = [block.M.length, block.N.length, block.K.length];
  const { label, code, formats, rows, columns, chunk } = choice;
  const [left, second] = destination.operands ?? [
    input(0, rowsIn(block[a.rows], a)),
    input(1, rowsIn(block[b.rows], b)),
  ];
  const right: readonly Binding[] =
    product.codes === null
      ? [{ name: "b", type: formats.b.loader.element(formats.b.width), operand: second }]
      : codeBindings(
          "b",
          product.codes,
          Array.from({ length: product.codes.parts }, (_, i) => (i === 0 ? second : input(1 + i))),
        );
  const across = Math.ceil(N / columns);
  const tiles = Math.ceil(M / rows) * across;
  const [lda, a0, ldb, b0] = [a.ld, block[a.columns].start, b.ld, block[b.columns].start];
  const bias = { biased: biased ? 1 : 0, bias0: block.N.start + (items?.start ?? 0) * N };
  const steps = { aStep: M * K, bStep: K * N, cStep: M * N, biasStep: N };
  const planes = Math.ceil(K / chunk);
  const sizes: Sizes = {
    M,
    N,
    K,
    lda,
    ldb,
    ldc,
    a0,
    b0,
    c0,
    chunk,
    planes,
    plane: M * N,
    ...steps,
    across,
    tiles,
    ...bias,
    ...(product.codes !== null && { scale0: firstScale(block[b.rows], product.codes) }),
  };
  const [x, y] = grid(tiles, target.maxWorkgroups);
  const count = items?.length ?? 1;
  return dispatch({
    label,
    bindings: [
      { name: "a", type: formats.a.loader.element(formats.a.width), operand: left },
      ...right,
      { name: "bias", type: formats.bias.element(1), operand: biased ? input(product.biasInput ?? 0) : left },
      { name: "c", type: vector(formats.out), operand: to },
    ],
    sizes,
    workgroups: [x, y, planes * count],
    code,
    cost: { flops: count * 2 * M * N * K, bytes: count * (M * K * a.bytes + K * N * b.bytes + 4 * M * N) },
  });
}

/** What `addUp` does with the planes: where their sum goes, and what else is in it. */
interface Sum {
  readonly to: Operand;
  readonly planes: number;
  /** Whether it is added to what the result holds. */
  readonly keep: boolean;
  readonly biased: boolean;
}

/** Adds up planes, in their order. Where a sum is in parts, N is whole. */
function addUp(
  { bias, biasInput, ldc }: Product,
  m: Span,
  { to, planes, keep, biased }: Sum,
  target: Target,
): Dispatch {
  const count = m.length * ldc;
  const width = widthFor(4, ldc);
  const from = scratch(0, "read");
  const code = eachItem(wgsl`
    var sum = ${vector(width)}();
    if (sizes.keep != 0u) { sum = c[i]; }
    for (var p = 0u; p < sizes.planes; p++) { sum += planes[p * sizes.count + i]; }
    c[i] = sum + ${biases(width, `i * ${width}u % sizes.N`)};`);
  return dispatch({
    label: "matmul sum",
    bindings: [
      { name: "planes", type: vector(width), operand: from },
      { name: "bias", type: bias.element(1), operand: biased ? input(biasInput ?? 0) : from },
      { name: "c", type: vector(width), operand: to },
    ],
    sizes: { count: count / width, planes, N: ldc, keep: keep ? 1 : 0, biased: biased ? 1 : 0 },
    workgroups: itemGroups(count / width, target),
    code: `${functions(bias)}${code}`,
    cost: { flops: planes * count, bytes: 4 * (planes + 1) * count },
  });
}
