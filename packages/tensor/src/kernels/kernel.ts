/** @file A kernel is text; a dispatch is a kernel with its operands, sizes and grid. No device, no state. */

/** A compute shader. The text is the cache key: equal text, equal pipeline. */
export interface Kernel {
  /** Short name for profiles and messages, such as "matmul nt 32x32". */
  readonly label: string;
  /**
   * WGSL with entry point `main`. Operands are `@group(0) @binding(i)` in the order of `Dispatch.operands`; if `sizes`
   * is not empty, the uniform with them stands at the binding after the last operand.
   */
  readonly code: string;
}

/** Which memory a binding refers to. */
export type Operand = OperandRange & {
  readonly of: "input" | "output" | "scratch";
  readonly index: number;
  /** "read" or "write"; "write" binds read_write, so a kernel may read what it wrote, or an update its old value. */
  readonly access: "read" | "write";
};

/** A part of the memory, for operands larger than one binding; whole if absent. Offsets are multiples of 256 bytes. */
export interface OperandRange {
  readonly offset?: number;
  readonly size?: number;
}

/** One call of a kernel. */
export interface Dispatch {
  readonly kernel: Kernel;
  readonly operands: readonly Operand[];
  /** Values of the uniform, each a 32-bit word; `f32()` gives the word of a float. Sizes travel as data, never in the text. */
  readonly sizes: readonly number[];
  readonly workgroups: readonly [number, number, number];
  /** Floating-point operations and bytes moved, as the floor for profiles. */
  readonly cost?: { readonly flops: number; readonly bytes: number };
}

/** Operand i of the op's inputs, for reading. */
export const input = (index: number, range: OperandRange = {}): Operand => ({
  of: "input",
  index,
  access: "read",
  ...range,
});
/** Operand i of the op's outputs, for writing. */
export const output = (index: number, range: OperandRange = {}): Operand => ({
  of: "output",
  index,
  access: "write",
  ...range,
});
/** Scratch buffer i. */
export const scratch = (index: number, access: "read" | "write"): Operand => ({ of: "scratch", index, access });

/** The 32-bit word of a float, for `Dispatch.sizes`. */
export const f32 = (x: number): number => new Uint32Array(new Float32Array([x]).buffer)[0] as number;

/**
 * Spreads n workgroups over two axes where one would pass the limit. The kernel computes its index as
 * `workgroup_id.x + workgroup_id.y * num_workgroups.x` and must return early when it is n or more.
 */
export function grid(n: number, maxWorkgroups: number): readonly [number, number, number] {
  if (n <= maxWorkgroups) return [Math.max(n, 1), 1, 1];
  const rows = Math.ceil(n / maxWorkgroups);
  return [Math.ceil(n / rows), rows, 1];
}
