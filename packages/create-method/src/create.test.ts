import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { create, CreateError, manifestOf } from "./create.ts";

const folders: string[] = [];
const folder = (): string => {
  folders.push(mkdtempSync(join(tmpdir(), "graft-create-")));
  return folders.at(-1)!;
};
afterEach(() => folders.splice(0).forEach((f) => rmSync(f, { recursive: true })));
const read = (...path: string[]): string => readFileSync(join(...path), "utf8");
const manifest = (path: string) => JSON.parse(read(path, "package.json")) as Record<string, Record<string, string>>;

describe("a method's package outside of a clone", () => {
  it("has the method's name wherever the template has its own", () => {
    const at = folder();
    const made = create("my-method", at);
    expect(made).toEqual({ folder: join(at, "my-method"), name: "my-method", inside: false });
    expect(readdirSync(join(made.folder, "src")).toSorted()).toEqual(["index.ts", "my-method.test.ts", "my-method.ts"]);
    expect(read(made.folder, "src/my-method.ts")).toContain(
      'export const myMethod = defineMethod({\n  contract: 1,\n  name: "my-method",',
    );
    for (const file of readdirSync(made.folder, { recursive: true, encoding: "utf8" }))
      if (/\.(ts|md|json)$/.test(file)) expect(read(made.folder, file)).not.toMatch(/method-?template/i);
  });

  it("depends on published versions, and has scripts of its own", () => {
    const {
      dependencies,
      devDependencies,
      scripts,
      graft,
      private: hidden,
    } = manifest(create("vera", folder()).folder);
    expect(dependencies!["@graftml/peft"]).toMatch(/^\^\d/);
    expect(JSON.stringify({ dependencies, devDependencies })).not.toMatch(/workspace|catalog/);
    expect(scripts).toEqual({ build: "tsc", test: "vitest run" });
    expect(graft).toEqual({ methods: ["vera"] });
    expect(hidden).toBeUndefined();
  });
});

describe("a method's package in a clone", () => {
  const clone = (): string => {
    const root = folder();
    mkdirSync(join(root, "packages/peft"), { recursive: true });
    writeFileSync(join(root, "packages/peft/package.json"), "{}");
    writeFileSync(join(root, "pnpm-workspace.yaml"), "");
    writeFileSync(
      join(root, "tsconfig.json"),
      JSON.stringify({ files: [], references: [{ path: "./packages/peft" }] }),
    );
    return root;
  };

  it("lies beside the others, is of the workspace and is built with it", () => {
    const root = clone();
    const made = create("vera", join(root, "packages/peft"));
    expect(made).toEqual({ folder: join(root, "packages/vera"), name: "@graftml/vera", inside: true });
    expect(manifest(made.folder)["dependencies"]!["@graftml/peft"]).toBe("workspace:^");
    expect(JSON.parse(read(root, "tsconfig.json"))).toEqual({
      files: [],
      references: [{ path: "./packages/peft" }, { path: "./packages/vera" }],
    });
  });

  it("is refused where there is one of that name, which stays as it is", () => {
    const root = clone();
    expect(() => create("peft", root)).toThrow("is there already");
    expect(existsSync(join(root, "packages/peft/src"))).toBe(false);
  });
});

it.each(["", "My", "a_b", "-a", "a--b", "../a", "1a"])("a method cannot be called %o", (name) => {
  expect(() => create(name, folder())).toThrow(CreateError);
});

it("the template's own manifest is the one that a method in a clone gets", () => {
  const { private: _, description: __, ...template } = manifest(join(import.meta.dirname, "../template"));
  expect(manifestOf("method-template", "@graftml/method-template", true)).toMatchObject(template);
});
