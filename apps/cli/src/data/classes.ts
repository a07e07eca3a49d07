/**
 * @file Names that the author of a data set gives to classes which its rows have as numbers.
 * @see HF datasets, `ClassLabel`
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { parse } from "yaml";

/** Names of classes in the order of their numbers, by column. */
export type ClassNames = Readonly<Record<string, readonly string[]>>;

/** Files that describe a data set, at its root. */
export const DESCRIPTIONS: readonly string[] = ["README.md", "dataset_infos.json"];

/** What a feature is made of, where it is not a class itself: a list of classes, or the same thing in YAML. */
const INSIDE = ["class_label", "dtype", "feature", "sequence", "list"];

/** One configuration of a data set. */
interface Described {
  readonly name: string | undefined;
  readonly classes: ClassNames;
}

/**
 * Class names by the columns of a data file: a Parquet file's own, or those in the description of the data set, which lies in
 * the file's folder or the one around it. None where nobody names any, or several configurations do so differently.
 */
export async function classesOf(path: string): Promise<ClassNames> {
  const own = path.toLowerCase().endsWith(".parquet") ? await inParquet(path) : {};
  if (Object.keys(own).length > 0) return own;
  for (const folder of [dirname(path), dirname(dirname(path))])
    for (const name of DESCRIPTIONS) {
      const file = join(folder, name);
      const described = existsSync(file) ? configurations(await readFile(file, "utf8"), name) : [];
      if (described.length > 0) return agreed(described, path);
    }
  return {};
}

/** What datasets writes into its Parquet files. A file that cannot be read is reported where its rows are. */
async function inParquet(path: string): Promise<ClassNames> {
  const { asyncBufferFromFile, parquetMetadataAsync } = await import("hyparquet");
  try {
    const { key_value_metadata: entries } = await parquetMetadataAsync(await asyncBufferFromFile(path));
    const text = entries?.find(({ key }) => key === "huggingface")?.value ?? "";
    return namesOf(member(member(JSON.parse(text), "info"), "features"));
  } catch {
    return {};
  }
}

/** Configurations that a description names classes in; none if it is not about data. */
function configurations(text: string, file: string): readonly Described[] {
  const given = file.endsWith(".json") ? attempt(() => Object.entries(JSON.parse(text) as object)) : inFront(text);
  return (given ?? [])
    .map(([name, info]): Described => ({ name, classes: namesOf(member(info, "features")) }))
    .filter(({ classes }) => Object.keys(classes).length > 0);
}

/** `dataset_info` of the YAML that a README begins with: one configuration, or a list of them. */
function inFront(text: string): readonly (readonly [name: string | undefined, info: unknown])[] {
  const [, front = ""] = /^---\r?\n(.*?)\r?\n---/s.exec(text) ?? [];
  const info = member(
    attempt(() => parse(front) as unknown),
    "dataset_info",
  );
  return [info ?? []].flat().map((one: unknown) => {
    const name = member(one, "config_name");
    return [typeof name === "string" ? name : undefined, one];
  });
}

/** What others wrote may be anything; what cannot be read says nothing. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Names on which the configurations agree: those called like one of the file's folders, if there are any. */
function agreed(all: readonly Described[], path: string): ClassNames {
  const folders = dirname(path).split(sep);
  const meant = all.filter(({ name }) => name !== undefined && folders.includes(name));
  const chosen = meant.length > 0 ? meant : all;
  const columns = new Set(chosen.flatMap(({ classes }) => Object.keys(classes)));
  return Object.fromEntries(
    [...columns].flatMap((column) => {
      const [first, ...others] = chosen.flatMap(({ classes }) => (column in classes ? [classes[column] ?? []] : []));
      const same = first !== undefined && others.every((other) => String(other) === String(first));
      return same ? [[column, first]] : [];
    }),
  );
}

const member = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined; // an object, just checked

/** Class names by column, of features as datasets writes them: an object by name, or a list whose members have names. */
function namesOf(features: unknown): ClassNames {
  if (typeof features !== "object" || features === null) return {};
  const entries = Array.isArray(features)
    ? features.map((feature: unknown) => [String(member(feature, "name")), feature] as const)
    : Object.entries(features);
  return Object.fromEntries(
    entries.flatMap(([column, feature]) => {
      const names = namesIn(feature);
      return names === undefined ? [] : [[column, names]];
    }),
  );
}

/** Names of a class, or of the classes in a list: a list, or an object by number. */
function namesIn(feature: unknown): readonly string[] | undefined {
  if (Array.isArray(feature)) return namesIn(feature[0]);
  const names = member(feature, "names");
  if (typeof names === "object" && names !== null) return Object.values(names).map(String);
  for (const key of INSIDE) {
    const found = typeof member(feature, key) === "object" ? namesIn(member(feature, key)) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
