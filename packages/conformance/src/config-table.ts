/** @file A method's configuration as a table for its README. */
import { type AnyMethod, z } from "@graftml/peft";

/** What is used of a JSON Schema. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly minimum?: number;
  readonly exclusiveMaximum?: number;
  readonly default?: unknown;
  readonly description?: string;
}

/**
 * The keys of a method, their types, defaults and meanings, in Markdown: what its README has to show.
 *
 * @example
 * | `rank` | integer ≥ 1 | `8` | Width of the update; PEFT's `r`. |
 */
export function configTable({ method }: AnyMethod): string {
  const { properties = {} } = z.toJSONSchema(method.config, { io: "input" }) as Schema; // made from an object
  const rows = Object.entries(properties).map(([key, s]) => [
    `\`${key}\``,
    typeOf(s),
    `\`${JSON.stringify(s.default)}\``,
    s.description ?? "",
  ]);
  return [["key", "type", "default", ""], ["---", "---", "---", "---"], ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n");
}

function typeOf(s: Schema, plural = ""): string {
  if (typeof s.type === "object") return s.type.map((type) => typeOf({ ...s, type })).join(" or ");
  if (s.enum !== undefined) return s.enum.map((value) => `\`${String(value)}\``).join(" or ");
  if (s.anyOf !== undefined) return s.anyOf.map((each) => typeOf(each)).join(" or ");
  if (s.items !== undefined) return `list${plural} of ${typeOf(s.items, "s")}`;
  if (typeof s.additionalProperties === "object") return `map${plural} to ${typeOf(s.additionalProperties, "s")}`;
  const above = s.minimum === undefined || s.minimum === Number.MIN_SAFE_INTEGER ? "" : ` ≥ ${s.minimum}`; // zod bounds all integers
  const below = s.exclusiveMaximum === undefined ? "" : ` and < ${s.exclusiveMaximum}`;
  return `${s.type ?? "any"}${s.type === "null" ? "" : plural}${above}${below}`;
}
