/** @file Suite `architectures`: what training real models needs, planned from their configurations alone. */
import { lora } from "@graftml/lora";
import { type Adapted, sites } from "@graftml/peft";
import { quant } from "@graftml/quant";
import { full } from "@graftml/surgical";
import { type MemoryPlan, sizeOf } from "@graftml/tensor";
import { adamw, optimizers } from "@graftml/trainer";
import { type Architecture, architectures, described, planTraining } from "../architectures.ts";
import type { Report } from "../report.ts";

const GB = 1e9;
const BATCH = 1;
const LENGTH = 512;
const RANK = 64;

const onAll = lora({ rank: RANK, alpha: 16, target: "all-linear" });
const inFourBits = quant({ type: "nf4", double_quant: true });

const total = (plan: MemoryPlan): number => Object.values(plan).reduce((a, b) => a + b, 0);

/** GB of each way to train, and of the weights alone in four bits. */
export async function planned(): Promise<Report> {
  const inBytes = optimizers["adamw_8bit"]?.({}) ?? adamw();
  const rows = architectures.map((architecture) => {
    const plan = (methods: readonly Adapted[], optimizer = adamw()): MemoryPlan =>
      planTraining(architecture, { methods, optimizer, batchSize: BATCH, length: LENGTH });
    const coded = plan([inFourBits, onAll]);
    return {
      name: architecture.name,
      figures: {
        "million parameters": parametersOf(architecture) / 1e6,
        full: total(plan([full()])) / GB,
        "full, 8-bit AdamW": total(plan([full()], inBytes)) / GB,
        LoRA: total(plan([onAll])) / GB,
        QLoRA: total(coded) / GB,
        "QLoRA, 8-bit AdamW": total(plan([inFourBits, onAll], inBytes)) / GB,
        "weights in NF4": (coded["weights"] ?? 0) / GB,
      },
    };
  });
  return { suite: `architectures (GB; ${BATCH} × ${LENGTH} tokens, recomputed activations, rank ${RANK})`, rows };
}

const parametersOf = (architecture: Architecture): number =>
  sites(described(architecture).model).reduce((n, { kind, shape }) => n + (kind === "param" ? sizeOf(shape) : 0), 0);
