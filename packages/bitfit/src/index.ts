/** @file The public surface of @graftml/bitfit. */
import { bitfit } from "./bitfit.ts";
import { randomSubset } from "./random-subset.ts";

export { bitfit } from "./bitfit.ts";
export { randomSubset } from "./random-subset.ts";
/** Both methods, by their names in run files. */
export default { bitfit, "random-subset": randomSubset };
