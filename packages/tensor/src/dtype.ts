/** @file The element types a tensor may have. */

/**
 * Element type. Arithmetic is always f32; `f16` is a storage type for frozen weights and for what products read, `i32` holds
 * ids, labels and positions, `u32` holds random seeds.
 */
export type DType = "f32" | "f16" | "i32" | "u32";

/** Bytes of one element. */
export const bytesPerElement: Readonly<Record<DType, number>> = { f32: 4, f16: 2, i32: 4, u32: 4 };
