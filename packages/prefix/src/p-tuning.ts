/** @file P-tuning: a prompt that is trained through an MLP. */
import { defineMethod, normal, z } from "@graftml/peft";
import { relu } from "@graftml/tensor";
import { dense, denseValues } from "./mlp.ts";
import { promptInterchange } from "./prompt-interchange.ts";
import { leading } from "./prompt.ts";

const config = z.object({
  tokens: z.int().min(1).default(20).describe("Rows of the prompt; PEFT's `num_virtual_tokens`."),
  hidden: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe("Width of the MLP's hidden layers; PEFT's `encoder_hidden_size`; null: the model's."),
  encoder: z
    .boolean()
    .default(true)
    .describe("Whether the rows come out of the MLP. false: it has been folded away, and they are trained themselves."),
});

type PTuningConfig = z.output<typeof config>;

/**
 * P-tuning: the n vectors of a prompt are W₃·relu(W₂·relu(W₁e + b₁) + b₂) + b₃ with e [n, D]; all of it is owned and trained, and
 * only the vectors are exported.
 *
 * @see Liu et al. 2021, https://arxiv.org/abs/2103.10385, §2.2; PEFT `tuners/p_tuning`.
 */
export const pTuning = defineMethod({
  contract: 1,
  name: "p-tuning",
  group: "addition",
  source: "https://arxiv.org/abs/2103.10385",
  config,
  adapt: ({ tokens: n, hidden, encoder }) =>
    leading("p-tuning", n, (here) => {
      const { own, site, model } = here;
      if (!encoder) return own("prompt_embeddings", [n, site.out], normal(1), { shared: true });
      const wide = { out: hidden ?? model.hidden, shared: true };
      const e = own("embedding.weight", [n, site.out], normal(1), { shared: true });
      const first = relu(dense(here, "mlp_head.0", e, wide));
      const second = relu(dense(here, "mlp_head.2", first, wide));
      return dense(here, "mlp_head.4", second, { out: site.out, shared: true });
    }),
  interchange: promptInterchange<PTuningConfig>({
    peftType: "P_TUNING",
    toConfig: ({ hidden }, { model }) => ({
      encoder_reparameterization_type: "MLP",
      encoder_hidden_size: hidden ?? model.hidden,
      encoder_num_layers: 2,
      encoder_dropout: 0,
    }),
    fromConfig: ({
      encoder_hidden_size: hidden,
      encoder_reparameterization_type: _type, // only while training: the tensor is what came out
      encoder_num_layers: _layers,
      encoder_dropout: _dropout,
      ...rest
    }) => ({ hidden, encoder: false, rest }),
    fold(owned) {
      const relu = (x: number): number => Math.max(x, 0);
      const e = owned.get("embedding.weight");
      const first = e && denseValues(e, owned, "mlp_head.0", relu);
      const second = first && denseValues(first, owned, "mlp_head.2", relu);
      return (second && denseValues(second, owned, "mlp_head.4")) ?? null;
    },
  }),
});
