import { defineMethod, z } from "@graftml/peft";
import { expect, it } from "vitest";
import { configTable } from "./config-table.ts";

it("the table of a method's keys says what each may be, what it is by default and what it means", () => {
  const method = defineMethod({
    contract: 1,
    name: "some",
    group: "addition",
    source: "none",
    config: z.object({
      rank: z.int().min(1).default(8).describe("Width."),
      rate: z.number().min(0).lt(1).default(0).describe("A share."),
      shift: z.int().default(-1).describe("Any whole number."),
      init: z.enum(["zero", "one"]).default("zero").describe("Start: a | b."),
      places: z
        .union([z.string(), z.array(z.string())])
        .default([])
        .describe("Where."),
      blocks: z.array(z.int().min(0)).nullable().default(null).describe("Which."),
      ranks: z.record(z.string(), z.int().min(1)).default({}).describe("By place."),
    }),
    adapt: () => ({}),
  });
  expect(configTable(method).split("\n").slice(2)).toEqual([
    "| `rank` | integer ≥ 1 | `8` | Width. |",
    "| `rate` | number ≥ 0 and < 1 | `0` | A share. |",
    "| `shift` | integer | `-1` | Any whole number. |",
    '| `init` | `zero` or `one` | `"zero"` | Start: a \\| b. |',
    "| `places` | string or list of strings | `[]` | Where. |",
    "| `blocks` | list of integers ≥ 0 or null | `null` | Which. |",
    "| `ranks` | map to integers ≥ 1 | `{}` | By place. |",
  ]);
});
