import { describe, expect, it } from "vitest";
import { z } from "zod";
import { ConfigError } from "./errors.ts";
import { defineMethod } from "./method.ts";

const method = defineMethod({
  contract: 1,
  name: "some",
  group: "addition",
  source: "none",
  config: z.object({ rank: z.int().min(1).default(8), nested: z.object({ size: z.number() }).optional() }),
  adapt: () => ({}),
});

describe("a configuration", () => {
  it("gets its defaults", () => {
    expect(method().config).toEqual({ rank: 8 });
  });

  it.each([
    ["an unknown key near a known one", { rnak: 4 }, 'some: unknown key "rnak". Did you mean "rank"?'],
    ["an unknown key near nothing", { temperature: 1 }, 'some: unknown key "temperature". Known keys: rank, nested.'],
    ["a value out of range", { rank: 0 }, "some.rank: Too small: expected number to be >=1"],
    ["a value of another type", { rank: "8" }, "some.rank: Invalid input: expected number, received string"],
    [
      "a bad value further down",
      { nested: { size: null } },
      "some.nested.size: Invalid input: expected number, received null",
    ],
  ])("is refused for %s", (_, config, message) => {
    const attempt = () => method(config as never);
    expect(attempt).toThrow(ConfigError);
    expect(attempt).toThrow(message);
  });

  it("tells every fault at once", () => {
    expect(() => method({ rank: 0, size: 1 } as never)).toThrow(/some\.rank: .*\n.*"size"/s);
  });
});
