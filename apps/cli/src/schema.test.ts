import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { keysOf, runSchema } from "./schema.ts";

const keys = keysOf(runSchema).filter(({ key }) => key !== "made_with");

it("has its keys in the README as they are", () => {
  const rows = keys.map(({ key, default: fallback, description }) => {
    const shown = fallback === undefined ? "" : `\`${JSON.stringify(fallback)}\``;
    return `| \`${key}\` | ${shown} | ${description.replaceAll("|", "\\|")} |`;
  });
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const section = readme.split(/^## /m).find((part) => part.startsWith("Run files\n")) ?? "";
  expect(section.split("\n").filter((line) => line.startsWith("| `"))).toEqual(rows);
});

it("says what each of its keys means", () => {
  expect(keys.filter(({ description }) => description === "")).toEqual([]);
});
