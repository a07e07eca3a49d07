/** @file How a model's parameters lie in its files: known from its sites, so no family keeps a table of names. */
import { type Model, type Site, sites } from "@graftml/peft";
import type { Shape, Source } from "@graftml/tensor";

/** One parameter of a model and its form in a file. */
export interface Stored {
  /** Key of the state dict. */
  readonly name: string;
  /** In memory: weights are [out, in]. */
  readonly shape: Shape;
  /** In the file. */
  readonly fileShape: Shape;
  /** Whether the file has the weight as [in, out]. */
  readonly transposed: boolean;
  /** Other names under which files may hold it: those of layers that share it. */
  readonly aliases: readonly string[];
  readonly roles: readonly string[];
}

/** Every parameter of a model, by name. */
export function layoutOf<Batch>(model: Model<Batch>): ReadonlyMap<string, Stored> {
  const all = sites(model);
  const usersOf = (weight: string): readonly Site[] => all.filter((s) => s.weight === weight);
  const stored = all
    .filter((s) => s.kind === "param")
    .map(({ path: name, shape, roles }): Stored => {
      const users = usersOf(name);
      const transposed = users.some((s) => s.transposed);
      return {
        name,
        shape,
        fileShape: transposed ? shape.toReversed() : shape,
        transposed,
        aliases: users.map((s) => `${s.path}.weight`).filter((alias) => alias !== name),
        roles,
      };
    });
  return new Map(stored.map((s) => [s.name, s]));
}

/** A matrix [rows, columns] as [columns, rows], whatever its numbers stand for. */
export function transposed<V extends Exclude<Source, readonly number[]>>(values: V, [rows = 0, columns = 0]: Shape): V {
  const result = values.slice();
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) result[c * rows + r] = values[r * columns + c] ?? 0;
  return result as V; // slice keeps the type
}
