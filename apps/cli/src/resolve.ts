/** @file Finding methods and formats of adapters: by the names that installed packages declare in their package.json, or by path. */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type AdapterFormat, type AnyMethod, nearest } from "@graftml/peft";
import { UsageError } from "./errors.ts";
import { showFile } from "./io.ts";

/** A package that carries methods or formats: `"graft": { "methods": ["lora"], "formats": ["mlx"] }`. */
export interface MethodPackage {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
  readonly methods: readonly string[];
  readonly formats: readonly string[];
}

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly main?: string;
  readonly exports?: unknown;
  readonly graft?: { readonly methods?: unknown; readonly formats?: unknown };
}

/**
 * Packages that declare methods: in `node_modules` of the project and of the command line, at every level, and the
 * workspace packages of a clone. Where a package is found twice the first one counts: the project's own comes before ours.
 */
export function methodPackages(project: string = process.cwd()): readonly MethodPackage[] {
  const found = new Map<string, MethodPackage>();
  for (const folder of [
    ...modulesOf(project),
    ...modulesOf(import.meta.dirname),
    ...workspaceOf(import.meta.dirname),
  ]) {
    const manifest = manifestOf(folder);
    const { methods, formats } = manifest?.graft ?? {};
    const carries = Array.isArray(methods) || Array.isArray(formats);
    if (manifest?.name === undefined || !carries || found.has(manifest.name)) continue;
    const { name, version = "" } = manifest;
    const names = (declared: unknown): readonly string[] => (Array.isArray(declared) ? declared.map(String) : []);
    found.set(name, { name, version, folder: realpathSync(folder), methods: names(methods), formats: names(formats) });
  }
  return [...found.values()];
}

/** Folders of packages in every `node_modules` from a folder upwards. */
function modulesOf(start: string): readonly string[] {
  const here = foldersIn(join(start, "node_modules")).flatMap((folder) =>
    folder.includes(`node_modules${sep}@`) && !existsSync(join(folder, "package.json")) ? foldersIn(folder) : [folder],
  );
  return dirname(start) === start ? here : [...here, ...modulesOf(dirname(start))];
}

const sep = join("a", "b").charAt(1);

/** Packages of the clone that the command line lies in: what a contributor writes works the moment it is on disk. */
function workspaceOf(start: string): readonly string[] {
  if (existsSync(join(start, "pnpm-workspace.yaml"))) return foldersIn(join(start, "packages"));
  return dirname(start) === start ? [] : workspaceOf(dirname(start));
}

function foldersIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => (entry.isDirectory() || entry.isSymbolicLink()) && !entry.name.startsWith("."))
      .map((entry) => join(folder, entry.name))
      .sort();
  } catch {
    return []; // there is no such folder
  }
}

function manifestOf(folder: string): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest; // every key is checked where it is used
  } catch {
    return undefined; // no package
  }
}

/** Loads every method that a package declares. @throws {UsageError} if it does not export one of them. */
export async function loadPackage(found: MethodPackage): Promise<readonly AnyMethod[]> {
  return declared(
    found,
    "method",
    found.methods,
    (await exportsOf(entryOf(found))).filter(isMethod),
    (m) => m.method.name,
  );
}

/** Formats of adapters that packages declare. @throws {UsageError} if one does not export what it declares. */
export async function loadFormats(packages: readonly MethodPackage[]): Promise<readonly AdapterFormat[]> {
  const formats = packages
    .filter((found) => found.formats.length > 0)
    .map(async (found) =>
      declared(found, "format", found.formats, (await exportsOf(entryOf(found))).filter(isFormat), (f) => f.name),
    );
  return (await Promise.all(formats)).flat();
}

/** Of what a package exports, that which it declares. */
function declared<T>(
  { name }: MethodPackage,
  what: string,
  names: readonly string[],
  exported: readonly T[],
  nameOf: (value: T) => string,
): readonly T[] {
  const missing = names.filter((wanted) => !exported.some((value) => nameOf(value) === wanted));
  if (missing.length > 0)
    throw new UsageError(
      `${name} declares the ${what} ${missing.join(", ")} in its package.json but does not export it.`,
    );
  return exported.filter((value) => names.includes(nameOf(value)));
}

/**
 * The method of a name or path.
 * @throws {UsageError} if there is none: with the nearest name and where names come from; or if several packages have it.
 */
export async function findMethod(name: string, packages: readonly MethodPackage[]): Promise<AnyMethod> {
  if (isAbsolute(name)) return byPath(name);
  const carriers = packages.filter((p) => p.methods.includes(name));
  const [carrier, other] = carriers;
  if (carrier === undefined) {
    const known = packages.flatMap((p) => p.methods).sort();
    const near = nearest(name, known);
    throw new UsageError(
      `no installed package has the method "${name}". ${near === undefined ? `Installed: ${known.join(", ") || "none"}.` : `Did you mean "${near}"?`} Name a file to use your own: ./my-method.ts.`,
    );
  }
  if (other !== undefined)
    throw new UsageError(
      `${carriers.map((p) => p.name).join(" and ")} both have a method "${name}"; remove one, or name it by path.`,
    );
  const method = (await loadPackage(carrier)).find((m) => m.method.name === name);
  if (method === undefined) throw new UsageError(`${carrier.name} does not export the method "${name}".`);
  return method;
}

async function byPath(file: string): Promise<AnyMethod> {
  const shown = showFile(file);
  if (!existsSync(file)) throw new UsageError(`there is no method file ${shown}.`);
  const methods = (await exportsOf(file)).filter(isMethod);
  const [method, other] = methods;
  if (method === undefined)
    throw new UsageError(`${shown} exports no method: make one with defineMethod of @graftml/peft.`);
  if (other !== undefined)
    throw new UsageError(
      `${shown} exports ${methods.length} methods (${methods.map((m) => m.method.name).join(", ")}); one file, one method.`,
    );
  return method;
}

/** Everything that a module exports, its default export and what that holds included. */
async function exportsOf(file: string): Promise<readonly unknown[]> {
  const module = await load(file);
  const held = module["default"] instanceof Object ? Object.values(module["default"]) : [];
  return [...new Set([...Object.values(module), ...(held as unknown[])])];
}

async function load(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>; // a module's namespace
  } catch (cause) {
    throw new UsageError(
      `${showFile(file)} cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

const isMethod = (value: unknown): value is AnyMethod =>
  typeof value === "function" && "method" in value && value.method instanceof Object && "adapt" in value.method;

const isFormat = (value: unknown): value is AdapterFormat =>
  value instanceof Object && "recognises" in value && "read" in value && "name" in value;

/** Whether the command line runs from its sources, as in a clone: packages beside it then do so too. */
const fromSources = import.meta.filename.endsWith(".ts");
const CONDITIONS = [...(fromSources ? ["@graftml/source"] : []), "node", "import", "default"];

/** The file that a package's name leads to, by Node's rules for `exports` and `main`. */
function entryOf({ name, folder }: MethodPackage): string {
  const manifest = manifestOf(folder);
  const exported = manifest?.exports;
  const root = exported instanceof Object && "." in exported ? exported["."] : exported;
  const target = root === undefined ? (manifest?.main ?? "index.js") : pick(root);
  if (target === undefined)
    throw new UsageError(`${name} exports nothing that can be imported: see "exports" in its package.json.`);
  return join(folder, target);
}

function pick(target: unknown): string | undefined {
  if (typeof target === "string") return target;
  if (Array.isArray(target)) return target.map(pick).find((t) => t !== undefined);
  if (!(target instanceof Object)) return undefined;
  for (const [condition, inner] of Object.entries(target)) {
    const found = CONDITIONS.includes(condition) ? pick(inner) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
