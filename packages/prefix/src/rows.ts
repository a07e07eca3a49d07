/** @file Rows that stand before those of a sequence. */
import type { Attachment } from "@graftml/peft";
import { add, fill, ShapeError, type Tensor } from "@graftml/tensor";

/** The same rows for every sequence of a batch: [n, …] → [B, n, …] */
export const repeated = (rows: Tensor, batch: number): Tensor =>
  add(fill(rows.node.trace, [batch, ...rows.shape.map(() => 1)], 0), rows);

/** How rows change the positions of what follows them: a model that has none of its own (relative ones) is left alone. */
export const positions = (at: Attachment<"positions">["at"], wrap: Attachment<"positions">["wrap"]) =>
  ({ at, optional: true, wrap }) satisfies Attachment<"positions">;

/**
 * Refuses more rows than a model has positions for.
 * @param own positions that go to the method's own rows.
 * @param all those and the text's.
 * @throws {ShapeError} with both numbers.
 */
export function checkRoom(
  method: string,
  { own, all }: { readonly own: number; readonly all: number },
  limit: number,
): void {
  if (all > limit)
    throw new ShapeError(
      `${method}: ${own} of the model's ${limit} positions go to its rows, which leaves ${limit - own}; the text takes ${all - own}. Shorten the text, or use fewer rows.`,
    );
}
