/** @file The public surface of @graftml/adapters. */
import { houlsby, parallel, pfeiffer } from "./adapters.ts";

export { houlsby, parallel, pfeiffer } from "./adapters.ts";
export type { AdapterConfig } from "./config.ts";
export { adapterHub } from "./adapter-hub.ts";
/** The methods and the format, by their names in run files. */
export default { houlsby, pfeiffer, parallel };
