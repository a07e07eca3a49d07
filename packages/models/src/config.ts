/** @file Reading config.json: schemas that name what is missing, wrong or not supported. */
import { type JsonObject, StateError } from "@graftml/peft";
import { z } from "zod";
import { activations } from "./layers.ts";

/** A size: a whole number above zero. */
export const size = z.int().positive();

/** A probability of dropping an element. */
export const rate = z.number().min(0).lt(1);

/** The name of an activation function. */
export const activation = z.enum(Object.keys(activations) as (keyof typeof activations)[]); // keys() forgets that they are

/** A key that is absent or null means `value`, as in Hugging Face. */
export const absent = <S extends z.ZodType>(schema: S, value: z.output<S>) =>
  schema.nullish().transform((x): z.output<S> => x ?? value);

/** An option of which only some values are supported; absent and null are always fine. */
export const only = (...values: readonly (string | number | boolean)[]) =>
  z
    .unknown()
    .refine((x) => x === null || values.some((v) => v === x), {
      error: `only ${values.map((v) => JSON.stringify(v)).join(" or ")} is supported`,
    })
    .optional();

/** `quantization_config` of weights that are plain numbers: none. */
export const unquantized = z.null({ error: "weights that are already quantized are not supported" }).optional();

/** Longest value that a message quotes. */
const QUOTED = 60;

/**
 * A configuration by its schema. Keys that the schema does not name are left alone: Hugging Face writes many that change
 * nothing in a forward pass.
 * @throws {StateError} naming the file, each key, what was expected and what was found.
 */
export function readConfig<S extends z.ZodType>(schema: S, config: JsonObject, file: string): z.output<S> {
  const result = schema.safeParse(config);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => {
    const found = JSON.stringify(path.reduce<unknown>(inside, config)) ?? "nothing";
    return `${path.join(".")}: ${message}; found ${found.length > QUOTED ? `${found.slice(0, QUOTED)}…` : found}`;
  });
  throw new StateError(`${file}: ${problems.join("\n")}`);
}

/** The value under a key, if there is one. */
const inside = (value: unknown, key: PropertyKey): unknown =>
  typeof value === "object" && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined; // just checked
