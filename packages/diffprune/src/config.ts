/** @file The keys of diff pruning. */
import { type ModelInfo, type Site, type Target, covers, z } from "@graftml/peft";

export const config = z
  .object({
    fraction: z
      .number()
      .gt(0)
      .max(1)
      .default(0.005)
      .describe("Share of the targeted numbers that may change in the end."),
    structured: z
      .boolean()
      .default(false)
      .describe("Whether each matrix has a gate of its own besides one for each number."),
    l0: z.number().min(0).default(1.25e-7).describe("Price of a number that changes: λ of the paper."),
    cut: z
      .number()
      .gt(0)
      .max(1)
      .default(0.5)
      .describe("Share of the steps after which all but the fraction is cut off; what is left goes on training."),
    alpha: z.number().default(5).describe("Where gates start: the logit of s."),
    left: z.number().lt(0).default(-1.5).describe("Lower end of a gate before it is cut off at 0."),
    right: z.number().gt(1).default(1.5).describe("Upper end of a gate before it is cut off at 1."),
    gate_rate: z.number().positive().default(1e4).describe("Learning rate of gates, as a multiple of the run's."),
    fixed_rate: z
      .number()
      .positive()
      .default(5)
      .describe("Learning rate of what is left after the cut, as a multiple of the run's."),
    target: z
      .union([z.string(), z.array(z.string())])
      .default("all-linear")
      .describe("Linears whose weights may change: roles or ends of names."),
    mask: z
      .enum(["learned", "fixed"])
      .default("learned")
      .describe("fixed: no gates; the numbers of a saved adapter go on training. Files say it themselves."),
  })
  .strict();

export type Config = z.output<typeof config>;

/** Whether a parameter is the weight of a targeted linear; a task's own head is trained whole. */
export function isTargeted(target: Target, site: Site, model: ModelInfo): boolean {
  const { shape, roles, path } = site;
  const isTable = roles.includes("embed") && !roles.includes("unembed");
  if (shape.length !== 2 || !path.endsWith(".weight") || !roles.includes("weight") || roles.length < 2) return false;
  if (isTable || roles.includes("head") || roles.includes("norm")) return false;
  // A parameter has the roles of its linear; its path is the linear's with ".weight" behind it.
  return covers(target, { ...site, kind: "linear", path: path.slice(0, -".weight".length) }, model);
}
