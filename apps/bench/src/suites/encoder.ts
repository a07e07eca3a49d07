/** @file Suite `encoder`: a LoRA step on a small BERT with a classifier, beside transformers + PEFT on the same cores. */
import { lora } from "@graftml/lora";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { sequenceClassification } from "@graftml/trainer";
import { alternate } from "../measure.ts";
import { torchStep } from "../peers/torch.ts";
import { randomRow } from "../random.ts";
import type { Report } from "../report.ts";
import { trainingStep } from "../training.ts";

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

/** A batch of SST-2 sentences: 32 rows, padded to 48 tokens: the median of the longest of 32 in its training file. */
const [BATCH, LENGTH, RANK] = [32, 48, 8] as const;

/** Milliseconds a step of LoRA r 8 on all linears, and how many times torch's. */
export async function encoder(): Promise<Report> {
  const runtime = deviceRuntime(await requestDevice());
  const rows = Array.from({ length: BATCH }, (_, i) => ({
    ids: randomRow(LENGTH, config.vocab_size),
    labels: [i % 2],
  }));
  const yardstick = { config, task: sequenceClassification, rows, length: LENGTH };
  const methods = [lora({ rank: RANK, alpha: 2 * RANK, target: "all-linear" })];
  const ours = await trainingStep(runtime, "graft", yardstick, methods);
  const { model_type: _, ...bert } = config;
  const size = { config: bert, batch: BATCH, length: LENGTH, rank: RANK };
  const torch = await torchStep("torch_encoder.py", size);
  if (torch === null)
    console.error("encoder: no Python with torch, transformers and PEFT (GRAFT_PYTHON); it is left out.");
  const timings = await alternate([ours, ...(torch === null ? [] : [torch])], { rounds: 5, warm: 1 });
  torch?.stop();
  runtime.dispose();
  const peer = timings[1];
  return {
    suite: `encoder (LoRA r ${RANK} on all linears of a MiniLM, batch ${BATCH} × ${LENGTH})`,
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
