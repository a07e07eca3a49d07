/** @file The public surface of @graftml/models: families of models, their files, tokenizers and generation. */
export { bert } from "./bert.ts";
export { type ChatTemplate, type ChatText, type Span, type Turn } from "./chat.ts";
export { absent, activation, only, rate, readConfig, size, unquantized } from "./config.ts";
export { decoderHeads, type DecoderHeads, decoderInputs } from "./decoder-heads.ts";
export { deberta, debertaV2 } from "./deberta.ts";
export { distilbert } from "./distilbert.ts";
export { type BuildOptions, type Family, headFor } from "./family.ts";
export { type GenerateRequest, type Generator, type NewToken, openGenerator } from "./generate.ts";
export type { Framed, FramedTexts, PutAround } from "./frame.ts";
export { gpt2 } from "./gpt2.ts";
export { narrowHalf } from "./half.ts";
export { type ChosenHead, chooseHead, classifier, firstRow, type Head } from "./heads.ts";
export { type Picture, type Pixels, pixelsOf, type Preparation, readPreparation } from "./image.ts";
export {
  activations,
  attend,
  type AttendOptions,
  embedding,
  type EmbeddingOptions,
  iota,
  keyMask,
  layer,
  layerNorm,
  linear,
  type LinearOptions,
  positions,
  residual,
  rmsNorm,
  tokenInputs,
} from "./layers.ts";
export { llamas } from "./llama.ts";
export { type LoadedModel, loadModel, type LoadOptions, loadPreparation, loadTokenizer } from "./load.ts";
export { logitsOf, type MixedSetup, probeLogits, type Setup } from "./logits.ts";
export { randomBase } from "./random.ts";
export { buildModel, families } from "./registry.ts";
export { bucketOf, type Buckets, distanceBias } from "./relative.ts";
export { roberta, xlmRoberta } from "./roberta.ts";
export { type RotaryOptions, type RotaryScaling, rotaryTable } from "./rotary.ts";
export type { Sampling } from "./sample.ts";
export { saveModel, type SaveOptions } from "./save.ts";
export { type Storage, storedAs } from "./storage.ts";
export { mt5, t5 } from "./t5.ts";
export { type TextTokenizer, textTokenizer } from "./tokenizer.ts";
export { vit } from "./vit.ts";
