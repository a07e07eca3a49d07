/** @file `graft merge`: folds an adapter into a model's weights and checks the result. */
import { resolve } from "node:path";
import { loadModel } from "@graftml/models";
import { deviceOf, openRuntime } from "../device.ts";
import { checkFree } from "../free-folder.ts";
import { needed, openTrained, readGiven } from "../inputs.ts";
import { finish, paint, showFile } from "../io.ts";
import { compareMerged, writeMerged } from "../merging.ts";
import { parseRun } from "../run-file.ts";
import type { Command } from "../verbs.ts";

export const mergeModel: Command = async (io, args, options) => {
  // With a run file, its `out` holds the adapter: the flag says where the merged model goes.
  const given = readGiven(args, ["out"]);
  const target = given.values.get("out");
  const out = resolve(String(needed(target, "out", given)));
  if (given.file === undefined) needed(parseRun(given.source).adapter, "adapter", given);
  const session = await openTrained(given);
  checkFree(out, options["force"] === true);
  const { runtime } = await openRuntime(deviceOf(options), session.run.train.device_memory);
  try {
    await writeMerged(session, out);
    io.begun = true;
    // Read back from the disk: what is compared is what others will load.
    const { base } = await loadModel(out);
    const { difference, largest } = await compareMerged(runtime, session, base);
    const relativeDifference = difference / largest;
    finish(
      io,
      { out, max_logit_difference: difference, largest_logit: largest, relative: relativeDifference },
      `${paint("green", "✓", process.stdout)} ${showFile(out)}: largest logit difference between merged and attached ${difference.toExponential(1)} (largest logit ${largest.toFixed(1)})`,
    );
  } finally {
    runtime.dispose();
  }
};
