/** @file Where parameters stand: in a block, before the blocks or after them. */
import { ConfigError, type ModelInfo, type Site } from "@graftml/peft";

/** Parameters after the blocks: the last norm, a pooler or transform, and the head, which may be one with the token table. */
export const isHead = ({ layer, roles }: Site): boolean =>
  layer === null &&
  (["unembed", "head", "pooler", "transform"].some((role) => roles.includes(role)) ||
    (roles.includes("norm") && !roles.includes("embed")));

/** @throws {ConfigError} naming the method's key, for more blocks than the model has. */
export function checkBlocks(key: string, wanted: number, { layers }: ModelInfo): void {
  if (wanted > layers) throw new ConfigError(`${key}; this model has ${layers} blocks.`);
}
