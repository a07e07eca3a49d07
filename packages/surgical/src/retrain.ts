/** @file Training base parameters themselves: a trained copy of each takes its place. */
import { type Attachment, copyOf, type Target } from "@graftml/peft";

/**
 * Trains the parameters that a target names. The base stays as it is: each has a copy that starts equal and is named like it,
 * and the original is never even uploaded.
 */
export const retrain = (at: Target): { readonly param: Attachment<"param"> } => ({
  param: { at, wrap: (_, __, { own, site }) => own("", site.shape, copyOf(site.path)) },
});
