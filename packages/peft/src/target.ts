/** @file Choosing sites by role, by name or by rule. */
import { TargetError } from "./errors.ts";
import type { Adaptation, Attachment } from "./method.ts";
import type { ModelInfo } from "./model.ts";
import type { Kind, Site } from "./site.ts";

/**
 * Which sites a method attaches to: roles ("attn.q") and path suffixes ("q_proj", "mlp.up_proj"); "all-linear" (every linear
 * but the output embedding and a task's head); "*"; one string that is none of these is a regular expression for the whole path, as in PEFT; or
 * a predicate.
 */
export type Target = string | readonly string[] | ((site: Site, model: ModelInfo) => boolean);

/** Whether one word of a target names the site. */
function names(word: string, site: Site): boolean {
  if (word === "*") return true;
  if (word === "all-linear") return site.kind === "linear" && !["unembed", "head"].some((r) => site.roles.includes(r));
  return site.roles.includes(word) || site.path === word || site.path.endsWith(`.${word}`);
}

/** Whether a target covers a site of a model. */
export function covers(target: Target, site: Site, model: ModelInfo): boolean {
  if (typeof target === "function") return target(site, model);
  if (typeof target === "string") return names(target, site) || expression(target).test(site.path);
  return target.some((word) => names(word, site));
}

function expression(source: string): RegExp {
  try {
    return new RegExp(`^(?:${source})$`);
  } catch (cause) {
    throw new TargetError(`target "${source}" is no role, no name and no regular expression.`, { cause });
  }
}

/**
 * Checks that every word of a target names at least one of the model's sites of that kind.
 * @throws {TargetError} naming the method, the word, the nearest name and the roles there are.
 */
export function checkTarget(
  method: string,
  kind: Kind,
  target: Target,
  sites: readonly Site[],
  model: ModelInfo,
): void {
  const ofKind = sites.filter((s) => s.kind === kind);
  const words = typeof target === "object" ? target : [target];
  if (words.length === 0) throw new TargetError(`${method}: its target is empty; name at least one place.`);
  for (const word of words) {
    if (ofKind.some((s) => covers(typeof word === "string" && typeof target === "object" ? [word] : word, s, model)))
      continue;
    if (typeof word === "function") throw new TargetError(`${method}: no ${kind} site of this model is chosen.`);
    const known = [...new Set(ofKind.flatMap((s) => [...s.roles, s.path.split(".").at(-1) ?? ""]))].sort();
    const near = nearest(word, known);
    throw new TargetError(
      `${method}: no ${kind} site matches "${word}".${near === undefined ? "" : ` Did you mean "${near}"?`} There are: ${known.join(", ")}.`,
    );
  }
}

/**
 * Checks what a method's attachments name against the sites of a model. What optional ones mention must be found by one of
 * them, and something must be left to change.
 * @throws {TargetError} saying what matches nothing.
 */
export function checkAdaptation(
  method: string,
  adaptation: Adaptation,
  sites: readonly Site[],
  model: ModelInfo,
): void {
  // Keys of an Adaptation are kinds; Object.entries forgets it.
  const attachments = Object.entries(adaptation) as [Kind, Attachment<Kind>][];
  const optional = attachments.filter(([, attachment]) => attachment.optional === true);
  for (const [kind, attachment] of attachments)
    if (attachment.optional !== true) checkAttachment(method, kind, attachment, sites, model);
  const left = ([kind, { at, exclude = [] }]: (typeof attachments)[number]): readonly Site[] =>
    sites.filter((s) => s.kind === kind && covers(at, s, model) && !covers(exclude, s, model));
  const found = optional.flatMap(left);
  for (const { what, at } of optional.flatMap(([, { mentions = [] }]) => mentions))
    if (!found.some((s) => covers(at, s, model)))
      throw new TargetError(
        `${method}: ${what} matches none of the sites it can change: ${found.map((s) => s.path).join(", ") || "there is none"}.`,
      );
  if (attachments.length === 0 || attachments.some((attachment) => left(attachment).length > 0)) return;
  const targeted = attachments.flatMap(([kind, { at, exclude }]) => {
    const count = sites.filter((s) => s.kind === kind && covers(at, s, model)).length;
    return exclude === undefined || count === 0 ? [] : [`${count} ${kind}`];
  });
  throw new TargetError(
    targeted.length === 0
      ? `${method}: this model has nothing that it can change.`
      : `${method}: all ${targeted.join(" and ")} sites that it targets are excluded.`,
  );
}

/** Checks what an attachment names against the sites of its kind: every word of its target, and whatever else it mentions. */
function checkAttachment<K extends Kind>(
  method: string,
  kind: Kind,
  { at, mentions = [] }: Attachment<K>,
  sites: readonly Site[],
  model: ModelInfo,
): void {
  checkTarget(method, kind, at, sites, model);
  const targeted = sites.filter((s) => s.kind === kind && covers(at, s, model));
  for (const { what, at: mention } of mentions)
    if (!targeted.some((s) => covers(mention, s, model)))
      throw new TargetError(
        `${method}: ${what} matches none of the ${kind} sites it targets: ${targeted.map((s) => s.path).join(", ")}.`,
      );
}

/** The known word nearest to a misspelt one, if one is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map((k) => ({ k, d: distance(word, k) })).sort((a, b) => a.d - b.d);
  const [best] = ranked;
  return best !== undefined && best.d <= Math.max(2, word.length / 3) ? best.k : undefined;
}

/** Edits between two words: insertions, deletions, replacements and swaps of neighbours. */
function distance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => [i, ...new Array<number>(b.length).fill(0)]);
  const at = (i: number, j: number): number => (i < 0 || j < 0 ? Infinity : (rows[i]?.[j] ?? Infinity));
  for (let j = 0; j <= b.length; j++) (rows[0] ?? [])[j] = j;
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const swap = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity;
      const replace = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      (rows[i] ?? [])[j] = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, replace, swap);
    }
  return at(a.length, b.length);
}
