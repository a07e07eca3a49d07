/** @file `graft merge`: folds an adapter into a model's weights and checks the result. */
import { resolve } from "node:path";
import { loadModel } from "@graftml/models";
import type { CheckpointWriter } from "@graftml/peft";
import { bitsandbytes } from "@graftml/quant";
import { deviceOf, openRuntime } from "../device.ts";
import { UsageError } from "../errors.ts";
import { checkFree } from "../free-folder.ts";
import { needed, openTrained, readGiven } from "../inputs.ts";
import { finish, paint, showFile } from "../io.ts";
import { compareMerged, lossesOf, writeMerged } from "../merging.ts";
import { examplesOf, readRecords } from "../plan.ts";
import { thousands } from "../render.ts";
import { parseRun } from "../run-file.ts";
import type { Session } from "../session.ts";
import type { Command, Options } from "../verbs.ts";

export const mergeModel: Command = async (io, args, options) => {
  // With a run file, its `out` holds the adapter: the flag says where the merged model goes.
  const given = readGiven(args, ["out"]);
  const target = given.values.get("out");
  const out = resolve(String(needed(target, "out", given)));
  if (given.file === undefined) needed(parseRun(given.source).adapter, "adapter", given);
  const session = await openTrained(given);
  checkFree(out, options["force"] === true);
  const format = formatOf(session, options);
  const records = await readRecords(session.run, format === undefined ? [] : ["eval"]);
  const { runtime } = await openRuntime(deviceOf(options), session.run.train.device_memory);
  try {
    await writeMerged(session, out, format);
    io.begun = true;
    // Read back from the disk: what is compared is what others will load.
    const { task, labels } = session.loaded.model.info;
    const merged = await loadModel(out, { task, labels: labels === 0 ? null : labels, formats: [bitsandbytes] });
    const { difference, largest } = await compareMerged(runtime, session, merged);
    const relativeDifference = difference / largest;
    const { heldOut: rows } = examplesOf(session, records);
    const loss = rows.length === 0 ? undefined : await lossesOf(runtime, session, merged, rows);
    const rounding =
      loss &&
      `; loss of ${thousands(rows.length)} held-out rows ${loss.attached.toFixed(4)} attached, ${loss.merged.toFixed(4)} merged`;
    finish(
      io,
      {
        out,
        max_logit_difference: difference,
        largest_logit: largest,
        relative: relativeDifference,
        ...(loss && { loss }),
      },
      `${paint("green", "✓", process.stdout)} ${showFile(out)}: largest logit difference between merged and attached ${difference.toExponential(1)} (largest logit ${largest.toFixed(1)})${rounding ?? ""}`,
    );
  } finally {
    runtime.dispose();
  }
};

/** How merged weights are stored: in full unless the user wants them as the model stores its own. */
function formatOf({ run, loaded: { writer } }: Session, options: Options): CheckpointWriter | undefined {
  if (options["intoQuantized"] !== true) return undefined;
  if (writer !== null) return writer();
  throw new UsageError(
    `--into-quantized: ${showFile(run.model)} is stored in full precision. Merge without it, then \`graft quantize\` the result.`,
  );
}
