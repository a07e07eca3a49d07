/** @file Suite `encoder`: a LoRA step on a small BERT with a classifier, beside transformers + PEFT on the same cores. */
import { lora } from "@graftml/lora";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { packedSequenceClassification, sequenceClassification } from "@graftml/trainer";
import { alternate } from "../measure.ts";
import { torchStep } from "../peers/torch.ts";
import { randomRow } from "../random.ts";
import type { Report } from "../report.ts";
import { trainingStep, type TrainingStep } from "../training.ts";

/** Shape of all-MiniLM-L6-v2, as BERT's config.json. */
const config = {
  model_type: "bert",
  vocab_size: 30_522,
  hidden_size: 384,
  intermediate_size: 1536,
  num_hidden_layers: 6,
  num_attention_heads: 12,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  hidden_act: "gelu",
  layer_norm_eps: 1e-12,
  initializer_range: 0.02,
  pad_token_id: 0,
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
} as const;

/** Tokens of 32 sentences of SST-2's training file: a batch whose sum and longest are the medians of an epoch's. */
const lengths: readonly number[] = [
  26, 22, 7, 33, 10, 27, 20, 21, 11, 34, 16, 25, 20, 37, 20, 25, 24, 48, 38, 26, 19, 11, 13, 38, 20, 20, 15, 18, 13, 23,
  39, 24,
];
const RANK = 8;

/** Milliseconds a step of LoRA r 8 on all linears, rows padded and texts sharing rows, and how many times torch's. */
export async function encoder(): Promise<Report> {
  const runtime = deviceRuntime(await requestDevice());
  const rows = lengths.map((length, i) => ({ ids: randomRow(length, config.vocab_size), labels: [i % 2] }));
  const methods = [lora({ rank: RANK, alpha: 2 * RANK, target: "all-linear" })];
  const step = (name: string, task: typeof sequenceClassification): Promise<TrainingStep> =>
    trainingStep(runtime, name, { config, task, rows }, methods);
  const ours = [
    await step("graft, data.pack", packedSequenceClassification),
    await step("graft", sequenceClassification),
  ];
  const { model_type: _, ...bert } = config;
  const torch = await torchStep("torch_encoder.py", { config: bert, lengths, rank: RANK });
  if (torch === null)
    console.error("encoder: no Python with torch, transformers and PEFT (GRAFT_PYTHON); it is left out.");
  const timings = await alternate([...ours, ...(torch === null ? [] : [torch])], { rounds: 7, warm: 1 });
  torch?.stop();
  runtime.dispose();
  const peer = timings[ours.length];
  return {
    suite: `encoder (LoRA r ${RANK} on all linears of a MiniLM, ${lengths.length} sentences of SST-2's lengths)`,
    rows: timings.map(({ name, median, best }) => ({
      name,
      figures: {
        "ms, median": median,
        best,
        ...(peer !== undefined && { "× torch, median": median / peer.median, "× torch, best": best / peer.best }),
      },
    })),
  };
}
