/**
 * @file Suite `masked`: what an encoder knows after it has filled in words, by how it then tells parts of speech.
 * @see Devlin et al. 2019, §3.1 and §3.2, https://arxiv.org/abs/1810.04805.
 */
import { join } from "node:path";
import { buildModel } from "@graftml/models";
import { adapt } from "@graftml/peft";
import { full } from "@graftml/surgical";
import { deviceRuntime, requestDevice } from "@graftml/tensor";
import { maskedLm, tokenClassification } from "@graftml/trainer";
import { fit, judge, pretrained, withHead } from "../fitting.ts";
import { special, tagged } from "../languages.ts";
import { median } from "../measure.ts";
import { randomWeights } from "../random.ts";
import type { Report } from "../report.ts";

const VOCABULARY = 2000;
const config = {
  model_type: "bert",
  vocab_size: VOCABULARY,
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 48,
  pad_token_id: special.pad,
};
const BATCH = 32;
/** Below some 2,000 steps it knows little more than how common words are. */
const READING = { batch: BATCH, steps: 6000, lr: 3e-3, seed: 0 } as const;
/** What is then learned from labels, by how many sentences have them; each start gets the rate that suits it. */
const LESSONS = [
  { labelled: 200, steps: 120 },
  { labelled: 1000, steps: 300 },
] as const;
const RATES = [1e-3, 3e-3, 1e-2];
const SEEDS = [0, 1, 2];

/**
 * Accuracy on held-out sentences, the best rate's median over seeds, of an encoder that has read and of the same one untrained;
 * and how well each fills in words there.
 * @param folder where the data lies, in folders of these names.
 */
export async function masked({ folder }: { readonly folder: string }): Promise<Report> {
  const { classes, texts, train, test } = await tagged(join(folder, "data"), { vocabulary: VOCABULARY });
  const task = maskedLm({ mask: special.mask, special: new Set(Object.values(special)), rate: 0.2, packed: true });
  const reader = buildModel(config, { task: "masked-lm" });
  const tagger = buildModel(config, { task: "token-classification", labels: classes });
  const runtime = deviceRuntime(await requestDevice());
  const fresh = { runtime, model: reader, base: randomWeights(reader, READING.seed), task };
  const known = test.filter(({ ids }) => ids.some((id) => id > special.mask));
  const hidden = known.map(({ ids }) => ({ ids, labels: [] }));
  const starts = {
    untrained: fresh.base,
    "after filling in words": await pretrained(fresh, { rows: texts, ...READING }),
  };

  const rows = [];
  for (const [name, base] of Object.entries(starts)) {
    const figures: Record<string, number> = { "masked loss": (await judge({ ...fresh, base }, hidden, BATCH)).loss };
    for (const { labelled, steps } of LESSONS) {
      const found = [];
      for (const lr of RATES) {
        const right = [];
        for (const seed of SEEDS) {
          const { base: headed, drawn } = withHead(tagger, base, seed);
          const subject = { runtime, model: tagger, base: headed, task: tokenClassification(classes) };
          const lesson = { rows: train.slice(0, labelled), batch: BATCH / 2, steps, lr, seed };
          const learned = await fit(subject, adapt(tagger, [full()], { drawn }), lesson);
          right.push((await judge({ ...subject, below: [learned] }, test, BATCH))["accuracy"] ?? NaN);
        }
        found.push(median(right));
      }
      figures[`accuracy, ${labelled} labelled`] = Math.max(...found);
    }
    rows.push({ name, figures });
  }
  runtime.dispose();
  return { suite: `masked (parts of speech told by a BERT of width ${config.hidden_size})`, rows };
}
