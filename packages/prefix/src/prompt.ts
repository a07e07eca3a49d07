/** @file Prompt tuning: trained vectors that a model reads before the tokens of a text. */
import { type Base, ConfigError, copyOf, defineMethod, type Here, type Init, normal, z } from "@graftml/peft";
import { concat, type Tensor } from "@graftml/tensor";
import { promptInterchange } from "./prompt-interchange.ts";
import { checkRoom, positions, repeated } from "./rows.ts";
import { stackOf } from "./stacks.ts";

/** The table of tokens that reads the text: an encoder's where there is one. */
const reads = (site: Here["site"], model: Here["model"]): boolean =>
  stackOf(site, model) === (model.decoderStart === undefined ? "decoder" : "encoder");

/** Attachments that put rows [n, D] before the embedded tokens, which move n positions on. */
export const leading = (method: string, n: number, rows: (here: Here<"embedding">) => Tensor) => ({
  embedding: {
    at: reads,
    wrap: (ids: Tensor, next: (ids: Tensor) => Tensor, here: Here<"embedding">): Tensor => {
      const tokens = next(ids); // [B, T, D]
      return concat([repeated(rows(here), tokens.shape[0] ?? 0), tokens], 1); // [B, n + T, D]
    },
  },
  // Position ids count these rows already.
  positions: positions(reads, (ids, next, { model }) => {
    checkRoom(method, { own: n, all: ids.shape[1] ?? 0 }, model.maxLength);
    return next(ids);
  }),
});

const config = z
  .object({
    tokens: z.int().min(1).default(20).describe("Rows of the prompt; PEFT's `num_virtual_tokens`."),
    init: z
      .enum(["random", "text", "vocab"])
      .default("random")
      .describe("Start: normal with deviation 1, the embedded tokens of `text`, or those of tokens drawn at random."),
    text: z
      .string()
      .nullable()
      .default(null)
      .describe("Text to start from; its tokens are repeated or cut off to as many as there are rows."),
  })
  .refine(({ init, text }) => (init === "text") === (text !== null), {
    path: ["text"],
    error: 'goes with init: "text", and init: "text" with it',
  });

/** Rows of a table of tokens, of these tokens over and over. */
const tokenRows =
  (table: string, ids: (base: Base, draw: () => number) => readonly number[]): Init =>
  async (shape, rng, base) => {
    const [n = 0, width = 0] = shape;
    const [vocabulary = 0] = base.describe(table)?.shape ?? [];
    const drawn = ids(base, () => Math.floor(rng.uniform() * vocabulary));
    const all = await copyOf(table)(shape, rng, base);
    const rows = new Float32Array(n * width);
    for (let i = 0; i < n; i++) {
      const id = drawn[i % drawn.length] ?? 0;
      rows.set(Float32Array.from(all.slice(id * width, (id + 1) * width)), i * width);
    }
    return rows;
  };

/** @throws {ConfigError} if there is no tokenizer, or the text has no tokens. */
const textRows = (table: string, text: string): Init =>
  tokenRows(table, ({ encode }) => {
    if (encode === undefined)
      throw new ConfigError('prompt.init: "text" needs the tokenizer of the model, and its folder has none.');
    const ids = encode(text);
    if (ids.length === 0) throw new ConfigError(`prompt.text: ${JSON.stringify(text)} has no tokens.`);
    return ids;
  });

/**
 * Prompt tuning: n vectors [n, D], owned and trained, stand before the embedded tokens of the text and take n positions. Of an
 * encoder-decoder the encoder reads them.
 *
 * @see Lester et al. 2021, https://arxiv.org/abs/2104.08691, §2; PEFT `tuners/prompt_tuning`.
 */
export const prompt = defineMethod({
  contract: 1,
  name: "prompt",
  group: "addition",
  source: "https://arxiv.org/abs/2104.08691",
  config,
  adapt({ tokens: n, init, text }) {
    const start = (table: string): Init =>
      text !== null
        ? textRows(table, text)
        : init === "vocab"
          ? tokenRows(table, (_, draw) => Array.from({ length: n }, draw))
          : normal(1);
    return leading("prompt", n, ({ own, site }) =>
      own("prompt_embeddings", [n, site.out], start(site.weight), { shared: true }),
    );
  },
  interchange: promptInterchange<z.output<typeof config>>({
    peftType: "PROMPT_TUNING",
    // How training started is no part of what is kept: PEFT would ask for the tokenizer again.
    toConfig: () => ({
      prompt_tuning_init: "RANDOM",
      prompt_tuning_init_text: null,
      tokenizer_name_or_path: null,
      tokenizer_kwargs: null,
    }),
    fromConfig: ({
      prompt_tuning_init: _init,
      prompt_tuning_init_text: _text,
      tokenizer_name_or_path: _tokenizer,
      tokenizer_kwargs: _options,
      ...rest
    }) => ({ rest }),
  }),
});
