// What tests of files share: the tensors that a writer makes of a base, and digests as scripts/golden/quant.py takes them.

import { createHash } from "node:crypto";
import { type Base, type CheckpointWriter, type Model, sites } from "@graftml/peft";
import type { QuantConfig } from "../src/index.ts";

/** The ways to store weights that the script lists. */
export const forms: Readonly<Record<string, QuantConfig>> = {
  nf4: { type: "nf4", block: null, double_quant: false },
  "nf4-double": { type: "nf4", block: null, double_quant: true },
  fp4: { type: "fp4", block: null, double_quant: false },
  int8: { type: "int8", block: null, double_quant: false },
};

/** Sixteen digits that no other bytes are likely to have. */
export const digest = (bytes: ArrayBufferView): string =>
  createHash("sha256")
    .update(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    .digest("hex")
    .slice(0, 16);

/** A tensor of a file. */
export interface Written {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: ArrayBufferView;
}

/** The tensors that stand for the quantized weights of a base, by name. */
export async function writtenBy(
  writer: CheckpointWriter,
  model: Model,
  base: Base,
): Promise<ReadonlyMap<string, Written>> {
  const written = new Map<string, Written>();
  for (const site of sites(model)) {
    const tensors = site.kind === "param" ? await writer.tensors(site, base) : null;
    for (const { name, dtype, shape, data } of tensors ?? []) written.set(name, { dtype, shape, bytes: await data() });
  }
  return written;
}
