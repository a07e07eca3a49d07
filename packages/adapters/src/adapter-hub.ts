/**
 * @file AdapterHub's folders: `adapter_config.json` with `adapter.safetensors` or `pytorch_adapter.bin`, and beside them a head.
 * @see AdapterHub `loading.py`; recorded from version 1.3.0.
 */
import {
  adapt,
  type Adapter,
  type AdapterFormat,
  checkState,
  ConfigError,
  type FileContent,
  type Folder,
  type JsonObject,
  type NamedValues,
  nameWithin,
  readJson,
  readTensors,
  type ShapedValues,
  writeSafetensors,
} from "@graftml/peft";
import { fromHub, toHub } from "./hub-config.ts";
import { HEAD_CONFIG, HEAD_WEIGHTS, isSaved, readHead, writeHead } from "./hub-head.ts";
import { hubName, modernName } from "./hub-names.ts";

const CONFIG = "adapter_config.json";
/** Today's name and that of files that torch pickled. */
const WEIGHTS = ["adapter.safetensors", "pytorch_adapter.bin"] as const;

/** The first of these files that a folder has. */
const among = (folder: Folder, names: readonly string[]): string | undefined =>
  names.find((name) => folder.names.includes(name));

/**
 * Bottleneck adapters of AdapterHub, with or without the head of the task. `adapters` loads what is written with
 * `load_adapter(folder, use_safetensors=True)`; adapters that are stacked have a folder each.
 */
export const adapterHub: AdapterFormat = {
  name: "adapterhub",
  recognises: async (folder) => folder.names.includes(CONFIG) && among(folder, WEIGHTS) !== undefined,
  async read(folder, model, _, options = {}) {
    const config = await readJson(folder, CONFIG);
    const { name } = config;
    if (typeof name !== "string") throw new ConfigError(`${folder.path}: ${CONFIG} does not say the adapter's "name".`);
    const tensors = await readTensors(folder, among(folder, WEIGHTS) ?? WEIGHTS[0]);
    const head = await readHead(folder, model);
    const adapter = adapt(model, [fromHub(config)], { ...options, modules: head?.modules ?? [] });
    const state = new Map([...underOwnNames(tensors, adapter, model.info.type, name), ...(head?.state ?? [])]);
    checkState(adapter, state);
    return { adapter, state };
  },
  write(adapter, model, state, { name, base }) {
    const [method, other] = adapter.methods;
    if (method === undefined || other !== undefined)
      throw new ConfigError(
        `AdapterHub's folders hold one method; this adapter has ${adapter.methods.map((m) => m.name).join(" and ")}.`,
      );
    const { info } = model;
    const head = writeHead(adapter, model, state, name);
    const about = {
      hidden_size: info.hidden,
      model_class: info.architecture,
      model_name: base ?? "",
      model_type: info.type,
      version: "adapters.1.3.0",
    };
    return {
      [CONFIG]: inJson({ ...about, config: toHub(method, info.hidden), name }),
      [WEIGHTS[0]]: inTensors(underHubNames(adapter, state, info.type, name)),
      ...(head !== null && {
        [HEAD_CONFIG]: inJson({ ...about, ...head.about }),
        [HEAD_WEIGHTS[0]]: inTensors(head.tensors),
      }),
    };
  },
};

/** Values of a file by owned names. What stands for nothing keeps its name, and is then refused. */
function underOwnNames(tensors: NamedValues, adapter: Adapter, type: string, name: string): NamedValues {
  const own = new Map(
    adapter.owned.flatMap((owned) => {
      const hub = hubName(adapter, owned, type, name);
      return hub === null ? [] : [[hub, nameWithin(adapter, owned.name)] as const];
    }),
  );
  // Files of a bare body lack the first part of names, those of some classes have one more.
  const known = (key: string): string | undefined =>
    own.get(key) ?? [...own].find(([hub]) => hub.endsWith(`.${key}`) || key.endsWith(`.${hub}`))?.[1];
  return new Map([...tensors].map(([key, value]) => [known(modernName(key)) ?? key, value]));
}

/** @throws {ConfigError} if there is something that AdapterHub's files have no place for. */
function underHubNames(adapter: Adapter, state: NamedValues, type: string, name: string): NamedValues {
  const named = new Map<string, ShapedValues>();
  for (const owned of adapter.owned) {
    const own = nameWithin(adapter, owned.name);
    const value = state.get(own);
    if (value === undefined || isSaved(adapter, own)) continue;
    const hub = hubName(adapter, owned, type, name);
    if (hub === null) throw new ConfigError(`AdapterHub's files have no place for ${own}.`);
    named.set(hub, value);
  }
  return named;
}

/** Sorted and indented. AdapterHub tells a fixed scaling from a learned one by its being a float: 1.0, not 1. */
const inJson = (value: JsonObject): string =>
  `${JSON.stringify(value, null, 2)}\n`.replace(/("scaling": -?\d+)(?=,?\n)/, "$1.0");

const inTensors = (values: NamedValues): FileContent =>
  writeSafetensors(
    [...values].map(([name, { shape, values: numbers }]) => ({
      name,
      dtype: "F32",
      shape,
      data: () => Float32Array.from(numbers),
    })),
  );
