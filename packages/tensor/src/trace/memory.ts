/** @file Whose memory a tensor has, and which steps change it. */
import { leaf } from "../ops/leaf.ts";
import type { Node, Tensor } from "../tensor.ts";

/** A stretch of a buffer, in bytes. */
export interface Stretch {
  readonly buffer: string;
  readonly offset: number;
  readonly bytes: number;
}

/** Where a leaf lives; undefined if it shares memory with no other. */
export type Places = (leaf: Tensor) => Stretch | undefined;

/** Whether a node is another shape of its input's values. */
export const isView = ({ op }: Node): boolean => op.aliases !== undefined && op.updates !== true;

/** What a tensor is a view of; itself if it is none. */
export function source(t: Tensor): Tensor {
  const { op, inputs } = t.node;
  const from = op.updates === true ? undefined : op.aliases?.[t.index];
  return from === undefined ? t : source(inputs[from] as Tensor); // an alias is of an input
}

/** The leaf whose memory a tensor has, through views and updates; null for a value of the program's own. */
export function leafOf(t: Tensor): Tensor | null {
  const { op, inputs } = t.node;
  const from = op.aliases?.[t.index];
  return from === undefined ? (op === leaf ? t : null) : leafOf(inputs[from] as Tensor); // an alias is of an input
}

/** Whether two tensors share memory that a leaf has. */
export function overlap(a: Tensor, b: Tensor, place: Places): boolean {
  const [p, q] = [leafOf(a), leafOf(b)];
  if (p === null || q === null) return false;
  const [x, y] = [place(p), place(q)];
  if (x === undefined || y === undefined) return p === q;
  return x.buffer === y.buffer && x.offset < y.offset + y.bytes && y.offset < x.offset + x.bytes;
}

/** Whether a node writes to the memory of a tensor. */
export const changes = ({ op, outputs }: Node, t: Tensor, place: Places): boolean =>
  op.updates === true && outputs.some((y) => overlap(y, t, place));
