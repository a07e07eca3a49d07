// A method to stand on quantized weights: it adds a trained difference to every linear's output.

import { defineMethod, z, zeros } from "@graftml/peft";
import { add } from "@graftml/tensor";

/** y → y + d, a trained number for each feature. */
export const retrained = defineMethod({
  contract: 1,
  name: "retrained",
  group: "addition",
  source: "https://example.org",
  config: z.object({}),
  adapt: () => ({
    linear: { at: "all-linear", wrap: (x, next, here) => add(next(x), here.own("difference", [here.site.out], zeros)) },
    param: { at: (site) => site.shape.length === 2, wrap: (_, next) => next() },
  }),
});
