/** @file An adapter's state and configuration as files hold them: Hugging Face PEFT's own form where PEFT has the method. */
import { sameShape, show } from "@graftml/tensor";
import { adapt, type Adapter, type AdaptOptions, sites } from "./adapt.ts";
import { ConfigError, StateError } from "./errors.ts";
import { renamed, underExpectedNames } from "./file-names.ts";
import type { InterchangeContext, JsonObject, NamedValues } from "./interchange.ts";
import type { Configurable } from "./method.ts";
import type { Model } from "./model.ts";
import { nearest } from "./target.ts";

/** What lies in an adapter's two files, `adapter_config.json` and `adapter_model.safetensors`. */
export interface AdapterFiles {
  readonly config: JsonObject;
  readonly tensors: NamedValues;
}

/** What a file says of the base beside the adapter. */
export interface EncodeOptions {
  /** Folder or Hub id of the base: PEFT's `base_model_name_or_path`. */
  readonly base?: string | null;
  /** PEFT's `task_type`; by default what the architecture's name says. */
  readonly taskType?: string | null;
}

/** An adapter and its values, by name within it. */
export interface Loaded {
  readonly adapter: Adapter;
  readonly state: NamedValues;
}

/** Any method, as its package exports it. */
export type AnyMethod = Configurable<never, never>;

/** PEFT's names of tasks, by the end of the architecture's name in transformers. */
const taskTypes: readonly (readonly [RegExp, string])[] = [
  [/(?:ForCausalLM|LMHeadModel)$/, "CAUSAL_LM"],
  [/ForConditionalGeneration$/, "SEQ_2_SEQ_LM"],
  [/ForSequenceClassification$/, "SEQ_CLS"],
  [/ForTokenClassification$/, "TOKEN_CLS"],
  [/ForQuestionAnswering$/, "QUESTION_ANS"],
];

/** A parameter's name within its adapter. Files and states never hold the adapter's id. */
export const nameWithin = (adapter: Adapter, name: string): string => name.slice(adapter.id.length + 1);

/**
 * An adapter as its files hold it. A single method that PEFT has gives PEFT's files; everything else is listed under
 * `methods` as in a run file, with a `peft_type` of ours.
 *
 * @param state values by name within the adapter, as `readState` gives them.
 */
export function encodeAdapter<Batch>(
  adapter: Adapter,
  model: Model<Batch>,
  state: NamedValues,
  { base = null, taskType }: EncodeOptions = {},
): AdapterFiles {
  checkState(adapter, state);
  const common = {
    auto_mapping: null,
    base_model_name_or_path: base,
    inference_mode: true,
    revision: null,
    task_type:
      taskType === undefined ? (taskTypes.find(([end]) => end.test(model.info.architecture))?.[1] ?? null) : taskType,
  };
  const saying = adapter.methods.filter(({ method }) => method.storesBase !== true);
  const [first, ...others] = saying;
  const context = contextOf(model);
  const theirs = others.length === 0 ? first?.method.interchange : undefined;
  // The interchange is the method's own and so is the configuration: Adapted has forgotten their common type.
  const interchange = theirs?.holds?.(first?.config as never, context, state) === false ? undefined : theirs;
  if (first !== undefined && interchange !== undefined) {
    const { prefix = PREFIX, modulesPrefix = PREFIX, peftType, tensors } = interchange;
    const parameters = new Set(context.sites.flatMap((s) => (s.kind === "param" ? [s.path] : [])));
    const [modules, own] = partition(state, (name) => inModules(adapter.modules, name) && parameters.has(name));
    const packed = tensors?.pack(own, context) ?? own;
    return {
      config: {
        ...common,
        ...interchange.toConfig(first.config as never, context, own), // as above
        modules_to_save: adapter.modules.length > 0 ? adapter.modules : null,
        peft_type: peftType,
        peft_version: PEFT_VERSION,
      },
      tensors: new Map([
        ...renamed(packed, (name) => prefix + name),
        ...renamed(modules, (name) => modulesPrefix + name),
      ]),
    };
  }
  const methods = saying.map(({ name, config }) => ({ name, ...(config as JsonObject) })); // a configuration is an object
  const peftType = others.length === 0 && first !== undefined ? `GRAFT_${first.name.toUpperCase()}` : "GRAFT";
  const saved = adapter.modules.length > 0 ? { modules_to_save: adapter.modules } : {};
  return { config: { ...common, ...saved, methods, peft_type: peftType }, tensors: state };
}

/** Whether a parameter of the base lies in one of these modules. */
const inModules = (modules: readonly string[], name: string): boolean =>
  modules.some((module) => `.${name}`.includes(`.${module}.`));

/** Values of saved modules, and all others. */
function partition(
  values: NamedValues,
  saved: (name: string) => boolean,
): readonly [modules: NamedValues, others: NamedValues] {
  const entries = [...values];
  return [new Map(entries.filter(([name]) => saved(name))), new Map(entries.filter(([name]) => !saved(name)))];
}

/** What PEFT puts before a module's path: its own wrapper and the tuner's. */
const PREFIX = "base_model.model.";
/** The version of PEFT whose format is written. */
const PEFT_VERSION = "0.21.2";

const contextOf = <Batch>(model: Model<Batch>): InterchangeContext => ({ model: model.info, sites: sites(model) });

/**
 * The adapter that files hold, resolved on a model, and its state. Names are read generously: with or without PEFT's prefix,
 * `.weight` at the end, or the adapter's name near the end, as older versions wrote them.
 *
 * @param methods those to choose from; what is in the files decides.
 * @throws {ConfigError} if no method here reads such files, or its configuration cannot be.
 * @throws {StateError} listing what is missing, unexpected or of the wrong shape.
 */
export function decodeAdapter<Batch>(
  files: AdapterFiles,
  model: Model<Batch>,
  methods: readonly AnyMethod[],
  options: AdaptOptions = {},
): Loaded {
  const { config, tensors } = files;
  const type = config["peft_type"];
  if (typeof type === "string" && /^GRAFT(?:_|$)/.test(type)) {
    const listed: unknown = config["methods"];
    if (!Array.isArray(listed))
      throw new ConfigError(`adapter_config.json: "methods" must be a list, not ${JSON.stringify(listed)}.`);
    const adapted = (listed as readonly JsonObject[]).map(({ name, ...rest }) =>
      methodNamed(name, methods)(rest as never),
    );
    return withState(adapt(model, adapted, { ...options, modules: savedIn(files) }), tensors);
  }
  const method = methods.find((m) => m.method.interchange?.peftType === type);
  const interchange = method?.method.interchange;
  if (method === undefined || interchange === undefined) throw unknownType(type, methods);
  const context = contextOf(model);
  const adapted = method(interchange.fromConfig(config, context) as never); // validated by the method
  const { prefix = PREFIX, modulesPrefix = PREFIX } = interchange;
  const saved = savedIn(files);
  const [modules, own] = partition(tensors, (name) => inModules(saved, name));
  const bare = renamed(own, (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : name));
  // The configuration is of the interchange's own method, whose type Adapted has forgotten.
  const values = new Map([
    ...(interchange.tensors?.unpack(bare, context, adapted.config as never) ?? bare),
    ...renamed(modules, (name) => name.replace(modulesPrefix, "").replace(/\.modules_to_save(\.[^.]+)?/, "")),
  ]);
  return withState(adapt(model, [adapted], { ...options, modules: saved }), values);
}

/**
 * Modules of the base that a file holds whole. PEFT lists names by the task, "classifier" and "score", of which a model has
 * one: what the file has nothing of does not count.
 * @throws {ConfigError} if the file holds none of the modules that its configuration names.
 */
function savedIn({ config, tensors }: AdapterFiles): readonly string[] {
  const named: unknown = config["modules_to_save"] ?? [];
  if (!Array.isArray(named))
    throw new ConfigError(`adapter_config.json: "modules_to_save" must be a list, not ${JSON.stringify(named)}.`);
  const modules = [...new Set(named.map(String))]; // PEFT may list one twice
  const held = modules.filter((module) => [...tensors.keys()].some((name) => inModules([module], name)));
  if (modules.length > 0 && held.length === 0)
    throw new ConfigError(
      `adapter_config.json: "modules_to_save" names ${modules.join(", ")}, but the file holds none of them.`,
    );
  return held;
}

function methodNamed(name: unknown, methods: readonly AnyMethod[]): AnyMethod {
  const found = methods.find((m) => m.method.name === name);
  if (found !== undefined) return found;
  const names = methods.map((m) => m.method.name);
  const near = nearest(String(name), names);
  throw new ConfigError(
    `adapter_config.json: the method ${JSON.stringify(name)} is not installed.${near === undefined ? "" : ` Did you mean "${near}"?`} Installed: ${names.join(", ")}. Install the package that carries it; Graft's own are named @graftml/….`,
  );
}

function unknownType(type: unknown, methods: readonly AnyMethod[]): ConfigError {
  const known = methods.flatMap(({ method }) =>
    method.interchange ? [`${method.interchange.peftType} (${method.name})`] : [],
  );
  return new ConfigError(
    `adapter_config.json: no installed method reads peft_type ${JSON.stringify(type)}. Known: ${known.join(", ") || "none"}. Install the package that carries it; Graft's own are named @graftml/….`,
  );
}

/** Values of a file by the owned names they stand for, checked. */
function withState(adapter: Adapter, tensors: NamedValues): Loaded {
  const expected = new Set(
    adapter.owned.flatMap(({ name, persist }) => (persist === true ? [nameWithin(adapter, name)] : [])),
  );
  const state = underExpectedNames(tensors, expected);
  checkState(adapter, state);
  return { adapter, state };
}

/** Most names that a message lists. */
const LISTED = 6;
const list = (names: readonly string[]): string =>
  names.slice(0, LISTED).join(", ") + (names.length > LISTED ? `, and ${names.length - LISTED} more` : "");

/**
 * Checks that a state holds what the adapter's methods own, and nothing else.
 * @throws {StateError} listing what is missing, unexpected or of the wrong shape.
 */
export function checkState(adapter: Adapter, state: NamedValues): void {
  const owned = new Map(
    adapter.owned.flatMap((o) => (o.persist === true ? [[nameWithin(adapter, o.name), o.shape] as const] : [])),
  );
  const missing = [...owned.keys()].filter((name) => !state.has(name));
  const unexpected = [...state.keys()].filter((name) => !owned.has(name));
  const wrong = [...state].flatMap(([name, { shape }]) => {
    const wanted = owned.get(name);
    return wanted === undefined || sameShape(wanted, shape)
      ? []
      : [`${name} is ${show(shape)}, its configuration wants ${show(wanted)}`];
  });
  const faults = [
    ...(missing.length > 0 ? [`missing (${missing.length} of ${owned.size}): ${list(missing)}`] : []),
    ...(unexpected.length > 0 ? [`unexpected: ${list(unexpected)}`] : []),
    ...(wrong.length > 0 ? [`wrong shape: ${list(wrong)}`] : []),
  ];
  if (faults.length > 0)
    throw new StateError(
      `the state does not fit ${adapter.methods.map((m) => m.name).join(" and ")} on this model. ${faults.join("; ")}.`,
    );
}
