/** @file What a LoRA adds to a linear. */
import { type Here, type OwnOptions, zeros } from "@graftml/peft";
import { concat, fill, linear, matmul, scale, sub, type Tensor } from "@graftml/tensor";
import { type LoraConfig, type Part, partsOf, rankAt, scaleAt } from "./config.ts";
import { startAt } from "./starts.ts";

/** ΔW = s·B·A, less where it started, in its two forms. */
export interface Update {
  /** ΔW x, where what is trained sees `input`, x after dropout. [..., in] → [..., out] */
  times(input: Tensor, x: Tensor): Tensor;
  /** ΔW [out, in] */
  matrix(): Tensor;
  /** s times the bias of B [out], or null. */
  readonly bias: Tensor | null;
}

/** The update of a linear; its parameters are owned. */
export function updateAt(c: LoraConfig, here: Here<"linear">): Update {
  const { site, own, model } = here;
  const [r, s] = [rankAt(c, site), scaleAt(c, site)];
  const frozen: OwnOptions = { trainable: false };
  const pairs = partsOf(c, site, model).map((part) => {
    const { name, out } = part;
    const start = startAt(c, here, part);
    const pair = (which: string, A?: OwnOptions, B?: OwnOptions) => ({
      A: own(`lora_A${which}${name}.weight`, [r, site.in], start.A, A),
      B: own(`lora_B${which}${name}.weight`, [out, r], start.B, B),
    });
    return {
      part,
      now: pair("", {}, { lrScale: c.lr_ratio }),
      before: start.offset ? pair("0", frozen, frozen) : null,
    };
  });
  const bias = c.lora_bias ? scale(own("lora_B.bias", [site.out], zeros, { lrScale: c.lr_ratio }), s) : null;
  return {
    times(input, x) {
      const parts = pairs.map(({ part, now, before }) => {
        const through = (y: Tensor, { A, B }: typeof now): Tensor => linear(scale(linear(y, A), s), B);
        return { part, value: before ? sub(through(input, now), through(x, before)) : through(input, now) };
      });
      return placed(parts, site.out, x.shape.length - 1);
    },
    matrix() {
      const parts = pairs.map(({ part, now, before }) => {
        const product = ({ A, B }: typeof now): Tensor => scale(matmul(B, A), s);
        return { part, value: before ? sub(product(now), product(before)) : product(now) };
      });
      return placed(parts, site.out, 0);
    },
    bias,
  };
}

/** Parts of a linear's outputs along an axis, each at its place, and zeros where there is none. */
function placed(parts: readonly { readonly part: Part; readonly value: Tensor }[], out: number, axis: number): Tensor {
  const pieces: Tensor[] = [];
  let end = 0;
  const upTo = (from: number, { node, shape }: Tensor): void => {
    if (from > end) pieces.push(fill(node.trace, shape.with(axis, from - end), 0));
  };
  for (const { part, value } of parts) {
    upTo(part.from, value);
    pieces.push(value);
    end = part.from + part.out;
  }
  const [first] = parts;
  if (first) upTo(out, first.value);
  const [only, ...others] = pieces;
  return only !== undefined && others.length === 0 ? only : concat(pieces, axis);
}
