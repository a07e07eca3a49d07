/** @file Adapters by name, among which prompts choose: rows of one batch, each with its own. */
import { nearest } from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { UsageError } from "./errors.ts";
import { localAdapter } from "./hub/local.ts";
import { loadFormats, loadPackage, methodPackages } from "./resolve.ts";
import type { Placed, Session } from "./session.ts";

/** What stands for no adapter where one may be named, as in PEFT. */
export const BASE = "__base__";

/** `--adapter` as it was given: names with folders, and folders alone. */
export function namedIn(given: readonly string[]): {
  readonly named: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
} {
  const named = new Map<string, string>();
  const rest: string[] = [];
  for (const text of given) {
    const [, name, folder] = /^([A-Za-z_][\w-]*)=(.+)$/s.exec(text) ?? [];
    if (name === undefined || folder === undefined) rest.push(text);
    else if (named.has(name) || name === BASE)
      throw new UsageError(
        `--adapter: ${name === BASE ? `${BASE} stands for no adapter` : `two adapters are called "${name}"`}; choose another name.`,
      );
    else named.set(name, folder);
  }
  return { named, rest };
}

/** Loads adapters over a session's model and what it carries already. */
export async function openNamed(
  { loaded, stack }: Session,
  named: ReadonlyMap<string, string>,
): Promise<readonly Placed[]> {
  if (named.size === 0) return [];
  const packages = methodPackages();
  const methods = (await Promise.all(packages.map(loadPackage))).flat();
  const formats = await loadFormats(packages);
  const below = stack.map(({ adapter }) => adapter);
  const placed: Placed[] = [];
  for (const [id, folder] of named) {
    const options = { formats, id: `named-${id}`, trainable: false, below };
    placed.push(await loadAdapter(await localAdapter(folder), loaded.model, methods, options));
  }
  return placed;
}

/**
 * The number of a name among adapters, from 1 on; 0 for `__base__`.
 * @throws {UsageError} for a name that is none of them.
 */
export function numberOf(name: string, named: ReadonlyMap<string, string>): number {
  if (name === BASE) return 0;
  const names = [...named.keys()];
  const found = names.indexOf(name);
  if (found >= 0) return found + 1;
  const near = nearest(name, names);
  throw new UsageError(
    `no adapter is called "${name}". ${near === undefined ? `There are ${[...names, BASE].join(", ")}.` : `Did you mean "${near}"?`}`,
  );
}
