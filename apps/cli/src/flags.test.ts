import { describe, expect, it } from "vitest";
import { UsageError } from "./errors.ts";
import { flagOf, parseFlags, showPath, withFlags } from "./flags.ts";

describe("flags", () => {
  it("are keys with values as YAML has them", () => {
    const { flags, rest } = parseFlags([
      "run.yaml",
      "--train.lr",
      "1e-3",
      "--data.shuffle=false",
      "--methods.0.target",
      "[q_proj, v_proj]",
      "--out",
      "a b",
    ]);
    expect(rest).toEqual(["run.yaml"]);
    expect(flags).toEqual([
      { path: ["train", "lr"], value: 0.001 },
      { path: ["data", "shuffle"], value: false },
      { path: ["methods", 0, "target"], value: ["q_proj", "v_proj"] },
      { path: ["out"], value: "a b" },
    ]);
  });

  it("take a negative number for a value, and no value for true", () => {
    expect(parseFlags(["--train.lr", "-1", "--data.shuffle", "--train.steps", "3"]).flags.map((f) => f.value)).toEqual([
      -1,
      true,
      3,
    ]);
  });

  it("keep an empty text", () => {
    expect(parseFlags(["--out="]).flags).toEqual([{ path: ["out"], value: "" }]);
  });

  it.each([["-x"], ["--"]])("refuse %s", (arg) => {
    expect(() => parseFlags([arg])).toThrow(UsageError);
  });

  it("refuse a value that is broken YAML", () => {
    expect(() => parseFlags(["--methods.0.target", "[q_proj"])).toThrow(
      '--methods.0.target: "[q_proj" is neither a value nor a list.',
    );
  });

  it("are laid over a file's content without changing it", () => {
    const content = { train: { lr: 1, steps: 2 }, methods: [{ name: "lora" }] };
    const { flags } = parseFlags([
      "--train.lr",
      "5",
      "--methods.0.rank",
      "4",
      "--methods.1.name",
      "ia3",
      "--data.columns.text",
      "story",
    ]);
    expect(withFlags(content, flags)).toEqual({
      train: { lr: 5, steps: 2 },
      methods: [{ name: "lora", rank: 4 }, { name: "ia3" }],
      data: { columns: { text: "story" } },
    });
    expect(content).toEqual({ train: { lr: 1, steps: 2 }, methods: [{ name: "lora" }] });
  });

  it("are named in messages as they are typed, keys as they are read", () => {
    expect(flagOf(["methods", 0, "rank"])).toBe("--methods.0.rank");
    expect(showPath(["methods", 0, "rank"])).toBe("methods[0].rank");
  });
});
