import { describeMethod, randomBase, started, tinyBert, tinyGpt2, tinyLlama, tinyT5 } from "@graftml/conformance";
import { adapt, type Base, type ShapedValues } from "@graftml/peft";
import { hostRuntime } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { pTuning, prompt } from "./index.ts";

const except = {
  identity: "the text attends to the prompt",
  merge: "rows before a text are no weights",
};

const folded = { ...except, unfolded: "the MLP is folded away: what is read again is the plain prompt" };
const mix = "the head reads the first row, which a prompt moves";
const readme = new URL("../README.md", import.meta.url);
const models = [tinyLlama(), tinyGpt2(), tinyT5()];

describeMethod(prompt, [{ tokens: 3 }, { tokens: 4, init: "vocab" }], { models, lr: 0.05, except, readme });
describeMethod(prompt, [{ tokens: 3 }], { models: [tinyBert()], lr: 0.05, except: { ...except, mix } });
describeMethod(pTuning, [{ tokens: 4, hidden: 12 }], { models, lr: 0.05, except: folded, readme });
describeMethod(pTuning, [{ tokens: 4, hidden: 12 }], { models: [tinyBert()], lr: 0.05, except: { ...folded, mix } });
describeMethod(pTuning, [{ tokens: 4, encoder: false }], { models: [tinyGpt2()], lr: 0.05, except });

describe("a prompt's start", () => {
  const model = tinyGpt2();
  const plain = randomBase(model);
  const rowsOf = async (
    config: Parameters<typeof prompt>[0],
    encode?: Base["encode"],
  ): Promise<readonly number[][]> => {
    const base = { ...plain, ...(encode && { encode }) };
    const { state } = await started({ model, base, runtime: hostRuntime() }, adapt(model, [prompt(config)]), 3);
    const [{ shape, values }] = [...state.values()] as [ShapedValues];
    return Array.from({ length: shape[0]! }, (_, i) => Array.from(values.slice(i * shape[1]!, (i + 1) * shape[1]!)));
  };
  const tableRows = async (): Promise<readonly number[][]> => {
    const values = Array.from((await plain.read("transformer.wte.weight")) as Float32Array);
    return Array.from({ length: 13 }, (_, i) => values.slice(i * 8, (i + 1) * 8));
  };

  it("is the embedded tokens of its text, over and over or cut off", async () => {
    const table = await tableRows();
    const encode = (text: string): number[] => Array.from(text, (letter) => letter.charCodeAt(0) - 97);
    expect(await rowsOf({ tokens: 5, init: "text", text: "dab" }, encode)).toEqual(
      [3, 0, 1, 3, 0].map((id) => table[id]),
    );
    expect(await rowsOf({ tokens: 2, init: "text", text: "dab" }, encode)).toEqual([3, 0].map((id) => table[id]));
  });

  it("is rows of the table of tokens, drawn at random", async () => {
    const table = await tableRows();
    const rows = await rowsOf({ tokens: 7, init: "vocab" });
    for (const row of rows) expect(table).toContainEqual(row);
    expect(new Set(rows.map(String)).size).toBeGreaterThan(2);
  });

  it("is normal with deviation 1 otherwise", async () => {
    const values = (await rowsOf({ tokens: 8 })).flat();
    expect(Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length)).toBeCloseTo(1, 0);
  });

  it.each<[string, Parameters<typeof prompt>[0], Base["encode"], string]>([
    ["a text but no tokenizer", { init: "text", text: "a" }, undefined, "needs the tokenizer of the model"],
    ["a text without tokens", { init: "text", text: "" }, () => [], 'prompt.text: "" has no tokens.'],
  ])("is refused for %s", async (_, config, encode, message) => {
    await expect(rowsOf({ tokens: 2, ...config }, encode)).rejects.toThrow(message);
  });

  it("is refused for a text that is not asked for, and for none that is", () => {
    for (const config of [{ text: "a" }, { init: "text" }] as const)
      expect(() => prompt(config)).toThrow('prompt.text: goes with init: "text"');
  });
});
