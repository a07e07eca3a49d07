/** @file The stacks of a model, which have prefixes of their own. */
import type { ModelInfo, Site } from "@graftml/peft";

/** Where attention happens: among the tokens of an encoder, of a decoder, or from those of one to those of the other. */
export const stacks = ["encoder", "decoder", "cross"] as const;

/** The stack that an attention or its positions belong to. A model that is no encoder-decoder has one only: `decoder`. */
export function stackOf({ path, roles }: Site, { decoderStart }: ModelInfo): (typeof stacks)[number] {
  if (roles.includes("cross")) return "cross";
  return decoderStart !== undefined && /(?:^|\.)encoder\./.test(path) ? "encoder" : "decoder";
}
