/** @file The bottleneck itself: down, activation, up. */
import { type Here, type Init, kaimingUniform, normal, ones, zeros } from "@graftml/peft";
import { dropout, linear, mul, scale, sizeOf, type Tensor } from "@graftml/tensor";
import { activations, type AdapterConfig } from "./config.ts";

/** Normal with deviation 0.001, drawn again beyond two deviations. @see adapter-bert `modeling.py`, `feedforward_adapter`. */
const truncated: Init = (shape, rng) =>
  new Float32Array(sizeOf(shape)).map(() => {
    let x = rng.normal();
    while (Math.abs(x) > 2) x = rng.normal();
    return x * 1e-3;
  });

/** Starts of the two maps. */
const inits: Readonly<Record<AdapterConfig["init"], { readonly down: Init; readonly up: Init }>> = {
  bert: { down: normal(0.02), up: normal(0.02) },
  houlsby: { down: truncated, up: truncated },
  mam: { down: kaimingUniform, up: zeros },
};

/**
 * f(x) = s · (W_up · act(W_down · x + b_down) + b_up), without a skip of its own. x [B, T, D] → [B, T, D]
 *
 * Names are those of AdapterHub's module. `adapter_down` is a sequence there, of which the map is the first.
 * @param width features between the two maps.
 * @see AdapterHub `methods/modeling.py`, `Adapter`.
 */
export function bottleneck(x: Tensor, width: number, c: AdapterConfig, here: Here): Tensor {
  const { own, model, train } = here;
  const { down, up } = inits[c.init];
  const inner = linear(
    x,
    own("adapter_down.0.weight", [width, model.hidden], down),
    own("adapter_down.0.bias", [width], zeros),
  ); // [B, T, width]
  const outer = linear(
    activations[c.activation](inner),
    own("adapter_up.weight", [model.hidden, width], up),
    own("adapter_up.bias", [model.hidden], zeros),
  );
  const scaled =
    typeof c.scaling === "number"
      ? scale(outer, c.scaling)
      : mul(outer, own("scaling", [c.scaling === "learned" ? 1 : model.hidden], ones));
  return train ? dropout(scaled, c.dropout, () => here.uniform("adapter_dropout", scaled.shape)) : scaled;
}
