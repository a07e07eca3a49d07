import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { withFiles } from "../test/helpers.ts";
import { findMethod, loadPackage, methodPackages } from "./resolve.ts";

const method = (name: string): string =>
  `const ${name} = Object.assign(() => ({}), { method: { contract: 1, name: "${name}", source: "here", adapt: () => ({}) } });`;
const carrier = (name: string, methods: readonly string[], extra: object = {}): string =>
  JSON.stringify({
    name,
    version: "1.2.3",
    type: "module",
    graft: { methods },
    exports: { ".": { import: "./main.js" } },
    ...extra,
  });

/** A project with packages installed in it. */
const folder = () =>
  withFiles({
    "node_modules/@who/sparse/package.json": carrier("@who/sparse", ["sparse"]),
    "node_modules/@who/sparse/main.js": `${method("sparse")}\n${method("hidden")}\nexport default sparse;\nexport { hidden };`,
    "node_modules/two/package.json": carrier("two", ["first", "second"], { exports: "./main.js" }),
    "node_modules/two/main.js": `${method("first")}\n${method("second")}\nexport default { first, second };`,
    "node_modules/twin/package.json": carrier("twin", ["first"]),
    "node_modules/liar/package.json": carrier("liar", ["absent"], { exports: undefined, main: "lib.js" }),
    "node_modules/liar/lib.js": "export const other = 1;",
    "node_modules/plain/package.json": JSON.stringify({ name: "plain", version: "1.0.0" }),
    "node_modules/broken/package.json": "{",
    "deep/er/x": "",
    "mine.js": `${method("mine")}\nexport { mine };`,
    "bad.js": "export const x = ;",
    "none.js": "export const x = 1;",
  });

describe("methods", () => {
  it("are found in packages that declare them, from any folder below", () => {
    const found = methodPackages(join(folder(), "deep/er")).filter((p) => !p.name.startsWith("@graftml/"));
    expect(found.map(({ name, version, methods }) => ({ name, version, methods }))).toEqual([
      { name: "@who/sparse", version: "1.2.3", methods: ["sparse"] },
      { name: "liar", version: "1.2.3", methods: ["absent"] },
      { name: "twin", version: "1.2.3", methods: ["first"] },
      { name: "two", version: "1.2.3", methods: ["first", "second"] },
    ]);
  });

  it("come with the command line", () => {
    expect(methodPackages(folder()).flatMap((p) => p.methods)).toContain("lora");
  });

  it("are loaded by name, by default export or by a member of it", async () => {
    const packages = methodPackages(folder());
    expect((await findMethod("sparse", packages)).method.name).toBe("sparse");
    expect((await findMethod("second", packages)).method.name).toBe("second");
  });

  it("that a package does not declare are not its methods", async () => {
    const packages = methodPackages(folder());
    const sparse = packages.find((p) => p.name === "@who/sparse")!;
    expect((await loadPackage(sparse)).map((m) => m.method.name)).toEqual(["sparse"]);
    await expect(findMethod("hidden", packages)).rejects.toThrow('no installed package has the method "hidden".');
  });

  it("may be named by path", async () => {
    expect((await findMethod(join(folder(), "mine.js"), [])).method.name).toBe("mine");
  });

  it.each([
    ["sprase", 'no installed package has the method "sprase". Did you mean "sparse"?'],
    ["first", 'twin and two both have a method "first"; remove one, or name it by path.'],
    ["absent", "liar declares the method absent in its package.json but does not export it."],
  ])("are refused: %s", async (name, message) => {
    await expect(findMethod(name, methodPackages(folder()))).rejects.toThrow(message);
  });

  it("are refused if their file does not load", async () => {
    await expect(findMethod(join(folder(), "bad.js"), [])).rejects.toThrow(/bad\.js cannot be loaded: /);
  });

  it("are refused if a file exports none, or is not there", async () => {
    await expect(findMethod(join(folder(), "none.js"), [])).rejects.toThrow(
      "none.js exports no method: make one with defineMethod",
    );
    await expect(findMethod(join(folder(), "nowhere.js"), [])).rejects.toThrow(
      /there is no method file .*nowhere\.js\./,
    );
  });
});
