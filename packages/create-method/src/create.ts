/** @file A new method package, copied from the template: in a clone of Graft beside the others, elsewhere on its own. */
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** What went wrong, for whoever typed the command. */
export class CreateError extends Error {}

/** A package that was made. */
export interface Created {
  readonly folder: string;
  readonly name: string;
  /** Whether it lies in a clone of Graft. */
  readonly inside: boolean;
}

const template = join(import.meta.dirname, "../template");

/** Names in the template that become the new method's. */
const [DASHED, CAMEL] = ["method-template", "methodTemplate"] as const;

/**
 * Makes the package of a method.
 * @param method its name, as run files will write it: "my-method".
 * @param from where the command was typed.
 * @throws {CreateError} for a name that cannot be one, or a folder that is there already.
 */
export function create(method: string, from: string): Created {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(method))
    throw new CreateError(
      `"${method}" cannot be a method's name: small letters, digits and single dashes, such as "my-method".`,
    );
  const clone = cloneAround(from);
  const folder = clone === null ? join(from, method) : join(clone, "packages", method);
  if (existsSync(folder)) throw new CreateError(`${folder} is there already. Choose another name, or remove it.`);
  cpSync(template, folder, {
    recursive: true,
    filter: (path) => !/[\\/](node_modules|dist|__snapshots__)$/.test(path),
  });
  const name = clone === null ? method : `@graftml/${method}`;
  for (const file of filesIn(folder)) rename(file, method, name);
  writeFileSync(join(folder, "tsconfig.json"), json(clone === null ? standalone : within));
  const manifest = join(folder, "package.json");
  writeFileSync(manifest, json(manifestOf(JSON.parse(readFileSync(manifest, "utf8")) as Manifest, clone !== null)));
  if (clone === null) rmSync(join(folder, "turbo.json"));
  else addReference(join(clone, "tsconfig.json"), `./packages/${method}`);
  return { folder, name, inside: clone !== null };
}

/** The clone of Graft that a folder lies in, or null. */
function cloneAround(folder: string): string | null {
  if (existsSync(join(folder, "pnpm-workspace.yaml")) && existsSync(join(folder, "packages/peft/package.json")))
    return folder;
  return dirname(folder) === folder ? null : cloneAround(dirname(folder));
}

const filesIn = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => join(folder, path))
    .filter((path) => statSync(path).isFile());

/** Writes the method's name wherever the template has its own, in texts and in names of files. */
function rename(file: string, method: string, name: string): void {
  const camel = method.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  const text = readFileSync(file, "utf8")
    .replaceAll(`@graftml/${DASHED}`, name)
    .replaceAll(DASHED, method)
    .replaceAll(CAMEL, camel);
  writeFileSync(file, text);
  const renamed = join(dirname(file), file.slice(dirname(file).length + 1).replace(DASHED, method));
  if (renamed !== file) renameSync(file, renamed);
}

interface Manifest {
  readonly [key: string]: unknown;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
}

/** The manifest as it is to be: publishable, and outside of a clone with versions and scripts of its own. */
function manifestOf(given: Manifest, inside: boolean): object {
  const manifest = { ...given, private: undefined, description: "A fine-tuning method for Graft." }; // JSON leaves out undefined
  if (inside) return manifest;
  const own = JSON.parse(readFileSync(join(import.meta.dirname, "../package.json"), "utf8")) as {
    readonly version: string;
  }; // ours
  const versions = (some: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
    Object.fromEntries(Object.keys(some).map((key) => [key, key.startsWith("@graftml/") ? `^${own.version}` : "*"]));
  return {
    ...manifest,
    scripts: { build: "tsc", test: "vitest run" },
    dependencies: versions(manifest.dependencies),
    devDependencies: { ...versions(manifest.devDependencies), typescript: "*" },
  };
}

const within = {
  extends: "../../tsconfig.base.json",
  compilerOptions: {},
  include: ["src"],
  exclude: ["src/**/*.test.ts"],
  references: [{ path: "../tensor" }, { path: "../peft" }],
};

const standalone = {
  compilerOptions: {
    target: "es2024",
    module: "nodenext",
    rewriteRelativeImportExtensions: true,
    strict: true,
    declaration: true,
    skipLibCheck: true,
    types: [],
    rootDir: "src",
    outDir: "dist",
  },
  include: ["src"],
  exclude: ["src/**/*.test.ts"],
};

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

function addReference(path: string, folder: string): void {
  const config = JSON.parse(readFileSync(path, "utf8")) as {
    readonly references: readonly { readonly path: string }[];
  }; // the clone's own
  const references = [...config.references, { path: folder }].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  writeFileSync(path, json({ ...config, references }));
}
