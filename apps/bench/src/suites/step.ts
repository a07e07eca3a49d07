/** @file Suite `step`: a training step by method, its memory planned and allocated; `peers`: the same step elsewhere. */
import { lora } from "@graftml/lora";
import type { Adapted } from "@graftml/peft";
import { quant } from "@graftml/quant";
import { full, top } from "@graftml/surgical";
import { type DeviceRuntime, deviceRuntime, type Precision, requestDevice } from "@graftml/tensor";
import { gptYardstick, MEDIUM } from "../gpt.ts";
import { alternate } from "../measure.ts";
import { jaxStep } from "../peers/jax.ts";
import { torchStep } from "../peers/torch.ts";
import type { Report } from "../report.ts";
import { type TrainingStep, trainingStep } from "../training.ts";

const MIB = 2 ** 20;
const total = (bytes: Readonly<Record<string, number>>): number => Object.values(bytes).reduce((a, b) => a + b, 0);

const everywhere = lora({ rank: 8, alpha: 16, target: "all-linear" });
const onFourBits = [quant({ double_quant: true }), everywhere];
const variants: readonly {
  readonly name: string;
  readonly methods: readonly Adapted[];
  readonly precision?: Precision;
}[] = [
  { name: "full", methods: [full()] },
  { name: "top 1 block", methods: [top({ layers: 1 })] },
  { name: "lora r 8, q and v", methods: [lora({ rank: 8, alpha: 16 })] },
  { name: "lora r 8, all linears", methods: [everywhere] },
  { name: "the same in f16", methods: [everywhere], precision: "f16" },
  { name: "in f32 on a base in nf4", methods: onFourBits },
  { name: "the same in f16", methods: onFourBits, precision: "f16" },
];

/** Milliseconds a step, trainable parameters, and memory as planned and as allocated, each in a runtime of its own. */
export async function step(): Promise<Report> {
  const opened: { readonly runtime: DeviceRuntime; readonly contender: TrainingStep }[] = [];
  for (const { name, methods, precision } of variants) {
    const runtime = deviceRuntime(await requestDevice());
    opened.push({ runtime, contender: await trainingStep(runtime, name, gptYardstick(MEDIUM), methods, precision) });
  }
  const timings = await alternate(
    opened.map((o) => o.contender),
    { rounds: 7 },
  );
  const slowest = timings[0]?.median ?? NaN;
  const rows = timings.map(({ name, median, best }, i) => {
    const { runtime, contender } = opened[i] as (typeof opened)[number]; // a timing for each
    return {
      name,
      figures: {
        "ms, median": median,
        best,
        "share of full": median / slowest,
        "tokens/s": (MEDIUM.batch * MEDIUM.length * 1000) / median,
        trainable: contender.trainable,
        "planned MiB": total(contender.memory) / MIB,
        "allocated MiB": total(runtime.allocated()) / MIB,
      },
    };
  });
  for (const { runtime } of opened) runtime.dispose();
  return { suite: "step (4 layers, width 256, batch 8 × 128)", rows };
}

/** The full step beside jax-js on the same device and torch on the CPU, alternating. */
export async function peers(): Promise<Report> {
  const runtime = deviceRuntime(await requestDevice());
  const ours = await trainingStep(runtime, "graft", gptYardstick(MEDIUM), [full()]);
  const torch = await torchStep("torch_step.py", MEDIUM);
  if (torch === null) console.error("peers: no Python with torch (GRAFT_PYTHON), so it is left out.");
  const timings = await alternate([ours, await jaxStep(MEDIUM), ...(torch === null ? [] : [torch])], { rounds: 5 });
  torch?.stop();
  runtime.dispose();
  const graft = timings[0]?.median ?? NaN;
  const rows = timings.map(({ name, median, best }) => ({
    name,
    figures: { "ms, median": median, best, "graft is × faster": median / graft },
  }));
  return { suite: "peers (full step, 4 layers, width 256, batch 8 × 128)", rows };
}
