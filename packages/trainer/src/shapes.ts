/** @file The shapes that programs are compiled for, and the programs by shape. */
import type { Program } from "@graftml/tensor";
import { rowsFor } from "./packing.ts";
import type { Facts } from "./program.ts";
import type { Setting } from "./run.ts";
import type { BatchShape, RowSize } from "./task.ts";

/** Tokens that a row of `longest` is padded to: a multiple of 8, so that few programs serve all batches, within what the model takes. */
const paddedLength = (longest: number, room: number): number => Math.min(Math.ceil(longest / 8) * 8, room);

/**
 * The shape of a batch of the given rows: as wide as its longest source and its longest target; or where the task packs
 * batches, with as few rows as hold its texts.
 */
export function shapeFor<Batch, Row>(
  { task, batchSize }: Pick<Setting<Batch, Row>, "task" | "batchSize">,
  { lead, room }: Facts,
  rows: readonly Row[],
): BatchShape {
  const sizes = rows.map((row) => task.size(row));
  if (task.packed === "batch") return { ...packedShape(sizes, batchSize, room), lead };
  const longest = (of: (size: RowSize) => number): number =>
    paddedLength(
      sizes.reduce((most, size) => Math.max(most, of(size)), 1),
      room,
    );
  const decoding = sizes.some(({ target }) => target !== undefined);
  return {
    batch: batchSize,
    length: longest(({ length }) => length),
    ...(decoding && { target: longest(({ target = 1 }) => target) }),
    ...(task.packed === "data" && { packed: true }),
    lead,
  };
}

/** Tokens of a row that texts of a batch share, if none of them is longer: several short ones fit, and attention is still cheap. */
const SHARED = 64;

/**
 * The shape of a batch whose texts share rows: a multiple of 32 tokens wide, and an even number of rows, so that few programs
 * serve all batches. Of more texts than a batch has, the longest count.
 */
function packedShape(sizes: readonly RowSize[], texts: number, room: number): Omit<BatchShape, "lead"> {
  const lengths = sizes.map(({ length }) => length).sort((a, b) => b - a);
  const most = lengths[0] ?? 1;
  const length = Math.max(most, Math.min(Math.max(SHARED, Math.ceil(most / 32) * 32), room));
  const rows = rowsFor(lengths.slice(0, texts), length);
  return { batch: Math.min(Math.ceil(rows / 2) * 2, texts), length, packed: true, texts };
}

/** Programs by shape. */
export interface ProgramsByShape {
  readonly get: (shape: BatchShape) => Promise<Program>;
  readonly dispose: () => Promise<void>;
}

/** Programs for the shapes of batches, compiled when first asked for. */
export function byShape(compile: (shape: BatchShape) => Promise<Program>): ProgramsByShape {
  const programs = new Map<string, Promise<Program>>();
  return {
    get: (shape) => {
      const key = `${shape.batch} ${shape.length} ${shape.target}`; // all else is the same in a run
      const program = programs.get(key) ?? compile(shape);
      programs.set(key, program);
      return program;
    },
    dispose: async () => {
      for (const result of await Promise.allSettled(programs.values()))
        if (result.status === "fulfilled") result.value.dispose();
      programs.clear();
    },
  };
}
