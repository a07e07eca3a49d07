/** @file Invertible adapters: hidden states are changed after the embeddings and back before the output embedding. */
import { type Adaptation, type Here, normal, zeros } from "@graftml/peft";
import { add, concat, linear, split, sub, type Tensor } from "@graftml/tensor";
import { activations, type AdapterConfig } from "./config.ts";

/** A map of one half of the features to the size of the other: down, activation, up. */
function subnet(name: string, x: Tensor, out: number, reduction: number, c: AdapterConfig, { own }: Here): Tensor {
  const width = x.shape.at(-1) ?? 0;
  const inner = Math.max(1, Math.floor(width / reduction));
  const part = (index: number, shape: readonly [number, number]): readonly [Tensor, Tensor] => [
    own(`invertible.${name}.${index}.weight`, shape, normal(0.02), { shared: true }),
    own(`invertible.${name}.${index}.bias`, [shape[0]], zeros, { shared: true }),
  ];
  return linear(activations[c.activation](linear(x, ...part(0, [inner, width]))), ...part(2, [out, inner]));
}

/**
 * A coupling block and its inverse. Of the two halves x₁, x₂: y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁); and back
 * x₂ = y₂ − G(y₁), x₁ = y₁ − F(x₂). x [..., D] → [..., D]
 *
 * @see Dinh et al. 2014 (NICE), https://arxiv.org/abs/1410.8516, §3.2; Pfeiffer et al. 2020 (MAD-X), §3.2.3.
 */
export function coupling(
  x: Tensor,
  direction: "forward" | "inverse",
  reduction: number,
  c: AdapterConfig,
  here: Here,
): Tensor {
  const D = x.shape.at(-1) ?? 0;
  const half = Math.floor(D / 2);
  const [a, b] = split(x, x.shape.length - 1, [half, D - half]) as [Tensor, Tensor]; // as many as lengths
  const F = (y: Tensor): Tensor => subnet("F", y, half, reduction, c, here);
  const G = (y: Tensor): Tensor => subnet("G", y, D - half, reduction, c, here);
  if (direction === "forward") {
    const first = add(a, F(b));
    return concat([first, add(b, G(first))], x.shape.length - 1);
  }
  const second = sub(b, G(a));
  return concat([sub(a, F(second)), second], x.shape.length - 1);
}

/**
 * Where an adapter with `invertible` acts besides: on what the embeddings give, of an encoder-decoder the encoder's only, and
 * on what enters the output embedding, where there is one.
 */
export function invertible(c: AdapterConfig): Pick<Adaptation, "layer" | "linear"> {
  if (c.invertible === false) return {};
  const { reduction } = c.invertible;
  return {
    layer: {
      at: ({ roles, path }, { decoderStart }) =>
        roles.includes("embed") && !(decoderStart !== undefined && path.startsWith("decoder.")),
      wrap: (x, next, here) => coupling(next(x), "forward", reduction, c, here),
    },
    linear: {
      at: (site) => site.roles.includes("unembed"),
      optional: true,
      wrap: (x, next, here) => next(coupling(x, "inverse", reduction, c, here)),
    },
  };
}
