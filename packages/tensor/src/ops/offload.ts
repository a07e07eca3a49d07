/** @file Values that wait on the host: identities to whoever computes, copies to whoever plans memory. */
import { apply, type Tensor } from "../tensor.ts";
import { none, type None } from "./elementwise.ts";
import type { Op } from "./op.ts";

/** The same value. It has no kernel: the schedule of a device makes a copy between two dispatches of it. */
const moving = (name: string): Op<None> => ({
  name,
  infer: ([x]) => [{ shape: x!.shape, dtype: x!.dtype }],
  reference: ([x]) => [x!],
  kernel: () => ({ dispatches: [] }),
});

/** Its output lies on the host, where only `restoreOp` reads it. */
export const keepOp = moving("keep");
/** Its input lies on the host. */
export const restoreOp = moving("restore");

/** x on the host, as it is from here on. */
export const keep = (x: Tensor): Tensor => apply(keepOp, [x], none);
/** What is kept on the host, back on the device. */
export const restore = (kept: Tensor): Tensor => apply(restoreOp, [kept], none);
