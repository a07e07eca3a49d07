/**
 * @file Heads beside AdapterHub's adapters: those of transformers' classes under their own names, and AdapterHub's own, which
 * are a sequence of maps.
 * @see AdapterHub `heads/base.py`, `PredictionHead.build`; `head_utils.py`; recorded from version 1.3.0.
 */
import {
  type Adapter,
  ConfigError,
  type Folder,
  type JsonObject,
  type Model,
  type NamedValues,
  readJson,
  readTensors,
  type Site,
  sites,
  StateError,
} from "@graftml/peft";

export const HEAD_CONFIG = "head_config.json";
/** Today's name and that of files that torch pickled. */
export const HEAD_WEIGHTS = ["model_head.safetensors", "pytorch_model_head.bin"] as const;

/** A task's head: its parameters, and the modules that hold them. */
export interface Head {
  readonly modules: readonly string[];
  readonly state: NamedValues;
}

/** Parameters of a task's own output layer. */
const headNames = (all: readonly Site[]): readonly string[] =>
  all.flatMap((s) => (s.kind === "param" && s.roles.includes("head") ? [s.path] : []));

/**
 * The head in an adapter's folder, if there is one and the model is for a task that has a head.
 * @throws {ConfigError} if the head does what the model's does not.
 * @throws {StateError} if it is that of another class.
 */
export async function readHead<Batch>(folder: Folder, model: Model<Batch>): Promise<Head | null> {
  const file = HEAD_WEIGHTS.find((name) => folder.names.includes(name));
  const all = sites(model);
  const names = headNames(all);
  if (file === undefined || names.length === 0) return null;
  const state = await readTensors(folder, file);
  const about = folder.names.includes(HEAD_CONFIG) ? await readJson(folder, HEAD_CONFIG) : {};
  const config = about["config"] as JsonObject | null | undefined; // an object if the head is AdapterHub's own
  if (config != null) return ownHead(String(about["name"]), config, state, all, model.info.type);
  if (!names.some((name) => state.has(name)))
    throw new StateError(
      `${folder.path}: ${file} holds ${[...state.keys()].join(", ")}; this model's head is ${names.join(", ")}. Save the adapter without its head, or with a model of the same class.`,
    );
  return { modules: [...new Set(names.map((name) => name.split(".")[0] ?? ""))], state };
}

/** What a head's two files hold; `about` is what both of a folder's configurations say. */
export interface HeadFiles {
  readonly about: JsonObject;
  readonly tensors: NamedValues;
}

/** Types of AdapterHub's own heads, by what a model is for. */
const typesOf: Readonly<Record<string, string>> = {
  "sequence-classification": "classification",
  "token-classification": "tagging",
  "image-classification": "image_classification",
};

/**
 * The head among an adapter's values as AdapterHub has it: under the names of transformers' class, or where more than that
 * class counts as its head was trained (a pooler) as AdapterHub's own. Null if there is none.
 */
export function writeHead<Batch>(
  adapter: Adapter,
  model: Model<Batch>,
  state: NamedValues,
  name: string,
): HeadFiles | null {
  const { info } = model;
  const all = sites(model);
  const saved = new Map([...state].filter(([parameter]) => isSaved(adapter, parameter)));
  if (saved.size === 0) return null;
  const labels =
    info.config["label2id"] ?? Object.fromEntries(Array.from({ length: info.labels }, (_, i) => [`LABEL_${i}`, i]));
  const about = { label2id: labels, num_labels: info.labels, name: null, config: null, model_class: info.architecture };
  const names = headNames(all);
  if ([...saved.keys()].every((parameter) => names.includes(parameter))) return { about, tensors: saved };
  const places = all.filter((s) => s.kind === "linear" && saved.has(`${s.path}.weight`)).map((s) => s.path);
  const renamed = [...saved].map(([parameter, value]) => {
    const [, path = "", part = ""] = /^(.*)\.(\w+)$/.exec(parameter) ?? [];
    return [`heads.${name}.${1 + 3 * places.indexOf(path)}.${part}`, value] as const; // behind a dropout, before an activation
  });
  const config = {
    head_type: typesOf[info.task],
    layers: places.length,
    activation_function: between[info.type] ?? "tanh",
    num_labels: info.labels,
    label2id: labels,
    use_pooler: false,
    bias: true,
    dropout_prob: null,
  };
  const model_class = info.architecture.replace(/For\w+$/, "AdapterModel");
  return { about: { ...about, name, config, model_class }, tensors: new Map(renamed) };
}

/** Whether a value is a base parameter's that was trained beside the method. */
export const isSaved = ({ modules }: Adapter, parameter: string): boolean =>
  modules.some((module) => `.${parameter}`.includes(`.${module}.`));

/** What stands between the two maps of a classifier in transformers, where that is not tanh. */
const between: Readonly<Record<string, string>> = { distilbert: "relu", deberta: "gelu", "deberta-v2": "gelu" };

/** Kinds of AdapterHub's heads whose maps are those of transformers' classes. */
const kinds: readonly unknown[] = ["classification", "tagging", "image_classification"];

/** AdapterHub's own head, put in the places of the model's: its pooler, if it goes on from there, and its head. */
function ownHead(name: string, config: JsonObject, state: NamedValues, all: readonly Site[], type: string): Head {
  const { head_type: kind, activation_function: activation, use_pooler: pooled = false } = config;
  const places = all.filter(
    (s) => s.kind === "linear" && (s.roles.includes("head") || (pooled !== true && s.roles.includes("pooler"))),
  );
  // Dropouts and activations stand between the maps, so their numbers are not consecutive.
  const maps = [...state.keys()].flatMap((key) => {
    const number = key.startsWith(`heads.${name}.`) ? /\.(\d+)\.weight$/.exec(key)?.[1] : undefined;
    return number === undefined ? [] : [Number(number)];
  });
  const expected = between[type] ?? "tanh";
  const same = maps.length === places.length && (maps.length < 2 || activation === expected);
  if (!kinds.includes(kind) || !same)
    throw new ConfigError(
      `${HEAD_CONFIG}: a head of type ${JSON.stringify(kind)} with ${maps.length} maps and ${JSON.stringify(activation)} between them is not this model's, which has ${places.length} and ${JSON.stringify(expected)}. Train on with the adapter alone, saved without its head.`,
    );
  const renamed = maps
    .toSorted((a, b) => a - b)
    .flatMap((number, i) =>
      ["weight", "bias"].flatMap((part) => {
        const value = state.get(`heads.${name}.${number}.${part}`);
        return value === undefined ? [] : [[`${places[i]?.path}.${part}`, value] as const];
      }),
    );
  return { modules: places.map((place) => place.path), state: new Map(renamed) };
}
