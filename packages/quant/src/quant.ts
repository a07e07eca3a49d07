/** @file Quantized weights: frozen, in four or eight bits, decoded where they are multiplied. */
import { type Base, defineMethod, type Here, type Init, type Site, widenHalf } from "@graftml/peft";
import { codeLengths, dequantize, type DequantizeAttrs, type Encoding, type Tensor } from "@graftml/tensor";
import { config, encodingOf } from "./format.ts";
import { type Quantized, quantize } from "./quantize.ts";

/** Roles of what stays in full precision: embeddings, the head, norms. */
const KEPT = ["embed", "unembed", "head", "norm"];

/** Whether a parameter is a weight to be quantized: that of a linear which is no head, as in bitsandbytes. */
export const isQuantized = ({ kind, shape, roles }: Site): boolean =>
  kind === "param" &&
  shape.length === 2 &&
  roles.includes("weight") &&
  roles.length > 1 &&
  !roles.some((r) => KEPT.includes(r));

/** The codes of a site's weight, wherever they come from. */
export type CodesOf = (base: Base, path: string, attrs: DequantizeAttrs) => Promise<Quantized>;

/** The decoded weight at a site: codes and scales are owned, frozen, and follow from the base. */
export function decodedAt({ site, own }: Here<"param">, encoding: Encoding, codesOf: CodesOf): Tensor {
  const [rows = 0, columns = 0] = site.shape;
  const attrs = { shape: [rows, columns] as const, encoding };
  const lengths = codeLengths(attrs);
  const part =
    (name: keyof Quantized): Init =>
    async (_, __, base) =>
      (await codesOf(base, site.path, attrs))[name];
  const frozen = { trainable: false, persist: false } as const;
  return dequantize(
    {
      codes: own("codes", [lengths.codes], part("codes"), { ...frozen, dtype: "u32" }),
      scales: own("scales", [lengths.scales], part("scales"), {
        ...frozen,
        dtype: encoding.nested === null ? "f32" : "u32",
      }),
      ...(encoding.nested !== null && { nested: own("nested", [lengths.nested], part("nested"), frozen) }),
    },
    attrs,
  );
}

/** A weight of a base, in f32. */
export async function weightOf(base: Base, path: string): Promise<Float32Array> {
  const source = await base.read(path);
  const values = source instanceof Uint16Array ? widenHalf(source) : source;
  return values instanceof Float32Array ? values : Float32Array.from(values);
}

/** Quantizes the weight of a base. */
export const codesOfWeight: CodesOf = async (base, path, attrs) => quantize(await weightOf(base, path), attrs, path);

/**
 * Keeps the codes of the weight asked for last, because its codes and its scales are asked for one after another; never more,
 * so that the base does not lie in memory whole.
 */
export function keepingLast(codesOf: CodesOf): CodesOf {
  const last = new WeakMap<Base, { readonly path: string; readonly codes: Promise<Quantized> }>();
  return (base, path, attrs) => {
    const known = last.get(base);
    if (known?.path === path) return known.codes;
    const codes = codesOf(base, path, attrs);
    last.set(base, { path, codes });
    return codes;
  };
}

/**
 * W → decode(codes(W)): every linear's weight but the head's, stored in four or eight bits. Innermost of its stack.
 * @see Dettmers et al. 2023, QLoRA, §3; Dettmers et al. 2022, LLM.int8(), §2.2.
 */
export const quant = defineMethod({
  contract: 1,
  name: "quant",
  group: "storage",
  source: "https://arxiv.org/abs/2305.14314",
  config,
  storesBase: true,
  adapt(chosen) {
    const encoding = encodingOf(chosen);
    const codesOf = keepingLast(codesOfWeight);
    return { param: { at: isQuantized, wrap: (_, __, here) => decodedAt(here, encoding, codesOf) } };
  },
});
