import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  expectGoldenSteps,
  goldenBase,
  type GoldenRecord,
  goldenSizes as sizes,
  tinyBert,
  tinyGpt2,
  tinyLlama,
} from "@graftml/conformance";
import { adapt, type Base, type Folder, type Loaded, type Model } from "@graftml/peft";
import { openFolder } from "@graftml/peft/files";
import { hostRuntime, type Values } from "@graftml/tensor";
import { describe, expect, it } from "vitest";
import { type AdapterConfig, adapterHub, houlsby } from "../src/index.ts";
import { inMemory } from "./in-memory.ts";

const golden = join(import.meta.dirname, "golden");
const record = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as GoldenRecord;
const models: Readonly<Record<string, Model>> = {
  llama: tinyLlama({ sizes }),
  gpt2: tinyGpt2({ sizes, dropout: 0 }),
  bert: tinyBert({ sizes }),
};

/** The adapters of a case, innermost first: one, or a language's and a task's. */
const folders = async (name: string): Promise<readonly Folder[]> =>
  existsSync(join(golden, name, "adapter_config.json"))
    ? [await openFolder(join(golden, name))]
    : [await openFolder(join(golden, name, "language")), await openFolder(join(golden, name, "task"))];

/** A stack of which the last one is trained. */
async function read(model: Model, from: readonly Folder[]): Promise<readonly Loaded[]> {
  const stack: Loaded[] = [];
  for (const [i, folder] of from.entries()) {
    const options = { id: `a${i}`, trainable: i === from.length - 1, below: stack.map((s) => s.adapter) };
    stack.push(await adapterHub.read(folder, model, [], options));
  }
  return stack;
}

/** The same adapter with trained norms, which AdapterHub's files do not hold: they start as the base's. */
async function withNorms({ adapter, state }: Loaded, model: Model, base: Base): Promise<Loaded> {
  const config = adapter.methods[0]?.config as AdapterConfig;
  const other = adapt(model, [houlsby({ ...config, train_norms: true })], { id: adapter.id, modules: adapter.modules });
  const values = new Map(state);
  for (const { name, shape } of other.owned) {
    const own = name.slice(adapter.id.length + 1);
    if (!values.has(own)) values.set(own, { shape, values: (await base.read(own)) as Values });
  }
  return { adapter: other, state: values };
}

describe.each(Object.entries(record.cases))("%s, made by AdapterHub", (name, steps) => {
  const [architecture = "", kind] = name.split("/");
  const model = models[architecture]!;

  it("trains here as it does there", async () => {
    const base = await goldenBase(model, join(golden, architecture, "model.safetensors"));
    const stack = await read(model, await folders(name));
    const trained = kind === "houlsby" ? [await withNorms(stack[0]!, model, base)] : stack;
    await expectGoldenSteps({ model, base, runtime: hostRuntime() }, trained, record, steps);
  });

  it("comes back from the files that are written, and says in them what was said", async () => {
    for (const [i, folder] of (await folders(name)).entries()) {
      const [{ adapter, state } = { adapter: adapt(model, []), state: new Map() }] = await read(model, [folder]);
      const written = adapterHub.write?.(adapter, model, state, { name: `name${i}`, base: null });
      const again = await inMemory(written ?? {});
      const [back] = await read(model, [again]);
      expect(back?.state).toEqual(state);
      expect(back?.adapter.methods[0]?.config).toEqual(adapter.methods[0]?.config);
      const said = (file: string): unknown => (JSON.parse(file) as { readonly config: unknown }).config;
      const theirs = said(readFileSync(join(folder.path, "adapter_config.json"), "utf8"));
      expect(said(written?.["adapter_config.json"] as string)).toEqual(theirs);
    }
  });
});
