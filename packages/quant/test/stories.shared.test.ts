import { readFileSync } from "node:fs";
import { join } from "node:path";
import { goldenBase, tinyLlama } from "@graftml/conformance";
import { expect, it } from "vitest";
import { bitsandbytesWriter } from "../src/index.ts";
import { digest, forms, writtenBy } from "./written.ts";

const folder = join(import.meta.dirname, "../../../../shared/models/stories260K");
const sizes = { vocabulary: 512, hidden: 64, inner: 172, heads: 8, keyHeads: 4, layers: 5, positions: 512 };
const recorded = JSON.parse(readFileSync(join(import.meta.dirname, "golden/stories260K.json"), "utf8")) as Readonly<
  Record<string, Readonly<Record<string, string>>>
>;

it.each(Object.entries(forms))("stories260K is stored as %s in the bytes of bitsandbytes", async (form, config) => {
  const model = tinyLlama({ sizes });
  const written = await writtenBy(
    bitsandbytesWriter(config),
    model,
    await goldenBase(model, join(folder, "model.safetensors")),
  );
  // What is stored in full is not the writer's: the token table and the norms.
  const wanted = Object.entries(recorded[form]!).filter(([name]) => !/(?:norm|embed_tokens)\.weight$/.test(name));
  expect(Object.fromEntries([...written].map(([name, { bytes }]) => [name, digest(bytes)]))).toEqual(
    Object.fromEntries(wanted),
  );
});
