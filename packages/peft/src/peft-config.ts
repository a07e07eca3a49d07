/** @file What every method's interchange needs to read and write Hugging Face PEFT's adapter_config.json. */
import { ConfigError } from "./errors.ts";
import type { JsonObject } from "./interchange.ts";
import type { Site } from "./site.ts";

/** Keys of every method's configuration; what they say is read elsewhere, or says nothing of the tensors. */
const common: readonly string[] = [
  "auto_mapping",
  "base_model_name_or_path",
  "inference_mode",
  "modules_to_save",
  "peft_type",
  "peft_version",
  "revision",
  "runtime_config",
  "task_type",
];

/**
 * The shortest ends of paths that name these sites and, among those that could be named, nothing else: PEFT's
 * `target_modules`.
 */
export function moduleNames(chosen: readonly Site[], all: readonly Site[]): readonly string[] {
  const wanted = new Set(chosen.map((s) => s.path));
  const others = all.map((s) => s.path).filter((path) => !wanted.has(path));
  const shortest = (path: string): string => {
    const parts = path.split(".");
    const ends = parts.map((_, i) => parts.slice(-1 - i).join("."));
    return ends.find((end) => !others.some((other) => `.${other}`.endsWith(`.${end}`))) ?? path;
  };
  return [...new Set([...wanted].map(shortest))];
}

/** The words of a list of modules that name a linear here: PEFT allows others, one list serves many models. */
export function namedModules(modules: unknown, sites: readonly Site[]): unknown {
  if (!Array.isArray(modules)) return modules;
  const linears = sites.filter((s) => s.kind === "linear");
  return modules.filter((m) => linears.some((s) => `.${s.path}`.endsWith(`.${String(m)}`)));
}

/**
 * Refuses what a configuration asks for besides what a method reads, because the tensors would mean something else.
 * @param rest keys that the method did not read.
 * @param neutral values with which a key says nothing; null, false and what is empty never do.
 * @param hint what to do, for the message.
 * @throws {ConfigError} naming the keys that say something, with their values.
 */
export function refuseRest(method: string, rest: JsonObject, neutral: JsonObject = {}, hint = ""): void {
  const silent = (key: string): boolean =>
    common.includes(key) ||
    [undefined, "null", "false", "[]", "{}", JSON.stringify(neutral[key])].includes(JSON.stringify(rest[key]));
  const keys = Object.keys(rest).filter((key) => !silent(key));
  if (keys.length > 0)
    throw new ConfigError(
      `adapter_config.json: ${method} cannot do what ${keys.map((k) => `"${k}": ${JSON.stringify(rest[k])}`).join(", ")} asks for.${hint && ` ${hint}`}`,
    );
}
