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
  writeFileSync(join(folder, "package.json"), json(manifestOf(method, name, clone !== null)));
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

/** The manifest of a method's package; outside of a clone with versions and scripts of its own. */
export function manifestOf(method: string, name: string, inside: boolean): object {
  const own = JSON.parse(readFileSync(join(import.meta.dirname, "../package.json"), "utf8")) as {
    readonly version: string;
  }; // ours
  const ours = inside ? "workspace:^" : `^${own.version}`;
  return {
    name,
    version: "0.0.0",
    description: "A fine-tuning method for Graft.",
    license: "Apache-2.0",
    files: ["dist", "src", "!**/*.test.ts", "!**/*.tsbuildinfo"],
    type: "module",
    sideEffects: false,
    exports: {
      ".": { "@graftml/source": "./src/index.ts", types: "./dist/index.d.ts", default: "./dist/index.js" },
      "./package.json": "./package.json",
    },
    publishConfig: { access: "public" },
    scripts: inside ? { build: "tsc -b" } : { build: "tsc", test: "vitest run" },
    dependencies: { "@graftml/peft": ours, "@graftml/tensor": ours },
    devDependencies: {
      "@graftml/conformance": ours,
      ...(inside ? { vitest: "catalog:" } : { typescript: "*", vitest: "*" }),
    },
    engines: { node: ">=22.18" },
    graft: { methods: [method] },
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
