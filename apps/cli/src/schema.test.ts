import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { keysOf, runSchema } from "./schema.ts";

const keys = keysOf(runSchema).filter(({ key }) => key !== "made_with");

it("has its keys in the README as they are", () => {
  const rows = keys.map(({ key, default: fallback, description }) => {
    const shown = fallback === undefined ? "" : `\`${JSON.stringify(fallback)}\``;
    return `| \`${key}\` | ${shown} | ${description.replaceAll("|", "\\|")} |`;
  });
  expect(readFileSync(new URL("../README.md", import.meta.url), "utf8")).toContain(rows.join("\n"));
});

it("says what each of its keys means", () => {
  expect(keys.filter(({ description }) => description === "")).toEqual([]);
});
