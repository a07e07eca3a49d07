import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { showFile, table, wrap } from "./io.ts";

describe("words on a screen", () => {
  it("are wrapped between words, with later lines indented", () => {
    expect(wrap("one two three four", 9, "  ")).toBe("one two\n  three\n  four");
    expect(wrap("unbreakable", 3)).toBe("unbreakable");
    expect(wrap("all of it", Infinity)).toBe("all of it");
  });

  it("stand in columns, whatever their colour", () => {
    expect(
      table([
        ["a", "b"],
        ["\u001B[1mlong\u001B[22m", "c"],
      ]),
    ).toBe("a     b\n\u001B[1mlong\u001B[22m  c");
  });

  it("name files from the current folder unless that is longer", () => {
    expect(showFile(join(process.cwd(), "runs/first"))).toBe("runs/first");
    expect(showFile(process.cwd())).toBe(".");
    expect(showFile("/x")).toBe("/x");
  });
});
