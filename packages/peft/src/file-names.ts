/** @file Which owned parameter a name in an adapter's file stands for: older versions of PEFT spelled them differently. */
import { StateError } from "./errors.ts";
import type { NamedValues } from "./interchange.ts";

/**
 * Values of a file under the names that are expected. A name may have one level more or less of PEFT's prefix, lack
 * `.weight` or have it in addition, and carry the adapter's name as its last part or the one before.
 *
 * Names that stand for nothing expected stay as they are.
 * @throws {StateError} if two names stand for the same parameter.
 */
export function underExpectedNames(file: NamedValues, expected: ReadonlySet<string>): NamedValues {
  const adapterName = sharedSegment([...file.keys()]);
  return renamed(file, (name) => spellings(name, adapterName).find((s) => expected.has(s)) ?? name);
}

/** The same values under other names. @throws {StateError} if two become one. */
export function renamed(values: NamedValues, rename: (name: string) => string): NamedValues {
  const before = new Map<string, string>();
  for (const name of values.keys()) {
    const after = rename(name);
    const other = before.get(after);
    if (other !== undefined)
      throw new StateError(`${other} and ${name} in the adapter's file both stand for ${after}.`);
    before.set(after, name);
  }
  return new Map([...values].map(([name, value]) => [rename(name), value]));
}

/** The adapter's name, if the file's names carry one: it stands near the end of every one of them. */
function sharedSegment(names: readonly string[]): string | undefined {
  const [first = [], ...others] = names.map((name) => name.split(".").slice(-2));
  return first.find((segment) => segment !== "weight" && others.every((tail) => tail.includes(segment)));
}

/** What a name may stand for, likeliest first. */
function spellings(name: string, adapterName: string | undefined): readonly string[] {
  const parts = name.split(".");
  const at = adapterName === undefined ? -1 : parts.lastIndexOf(adapterName);
  return [name, ...(at < 0 ? [] : [parts.toSpliced(at, 1).join(".")])]
    .flatMap((s) => [s, `model.${s}`, s.replace(/^base_model\./, "")])
    .flatMap((s) => [s, `${s}.weight`, s.replace(/\.weight$/, "")]);
}
