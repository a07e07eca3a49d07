/**
 * @file mlx-lm's folders of LoRAs: `adapters.safetensors` with A [in, r] and B [r, out], and one scale for all.
 * @see mlx-lm `tuner/lora.py`, `tuner/utils.py: load_adapters`; formats recorded from version 0.32.2.
 */
import {
  adapt,
  type AdapterFormat,
  checkState,
  ConfigError,
  type JsonObject,
  moduleNames,
  type NamedValues,
  readJson,
  readTensors,
  refuseRest,
  type ShapedValues,
  type Site,
  sites,
  StateError,
  writeSafetensors,
} from "@graftml/peft";
import { adapts, config as schema, type LoraConfig, rankAt, scaleAt } from "./config.ts";
import { lora } from "./lora.ts";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapters.safetensors";

/** A matrix with its axes swapped. */
function turned({ shape: [rows = 0, columns = 0], values }: ShapedValues): ShapedValues {
  const swapped = new Float32Array(values.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) swapped[j * rows + i] = values[i * columns + j] ?? NaN;
  return { shape: [columns, rows], values: swapped };
}

/** Each factor's name, ours and mlx-lm's. */
const factors = [
  [".lora_A.weight", ".lora_a"],
  [".lora_B.weight", ".lora_b"],
] as const;

/** Values under other names, turned; a name that is no factor's stays as it is. */
const renamed = (values: NamedValues, rename: (name: string) => string | undefined): NamedValues =>
  new Map(
    [...values].map(([name, v]) => {
      const other = rename(name);
      return other === undefined ? [name, v] : [other, turned(v)];
    }),
  );

/** First part of the blocks' names, which is always "model" in mlx-lm. */
const bodyOf = (all: readonly Site[]): string => all.find((s) => s.layer !== null)?.path.split(".")[0] ?? "model";

/** What is a LoRA to mlx-lm: factors of linears of the blocks, all of one rank and one scale. */
const plain: Partial<LoraConfig> = { dora: false, fused: "whole", embeddings: false, lora_bias: false, bias: "none" };

/** LoRAs of mlx-lm. */
export const mlx: AdapterFormat = {
  name: "mlx",
  recognises: async ({ names }) => names.includes(CONFIG) && names.includes(WEIGHTS),
  async read(folder, model, _, options = {}) {
    const { fine_tune_type: kind = "lora", lora_parameters: parameters } = await readJson(folder, CONFIG);
    if (kind !== "lora" || typeof parameters !== "object" || parameters === null)
      throw new ConfigError(
        `${folder.path}: fine_tune_type is ${JSON.stringify(kind)} with lora_parameters ${JSON.stringify(parameters)}; of mlx-lm's adapters only LoRAs can be read.`,
      );
    const { rank, scale, dropout = 0, keys: _keys, ...rest } = parameters as JsonObject; // an object, as just checked
    refuseRest("lora", rest);
    const all = sites(model).filter((s) => s.kind === "linear");
    const body = bodyOf(all);
    const file = renamed(await readTensors(folder, WEIGHTS), (name) => {
      const factor = factors.find(([, theirs]) => name.endsWith(theirs));
      return factor && name.slice(0, -factor[1].length).replace(/^model\./, `${body}.`) + factor[0];
    });
    const chosen = all.filter((s) => file.has(`${s.path}.lora_A.weight`));
    if (chosen.length === 0) {
      const some = [...file.keys()].slice(0, 3).join(", ");
      throw new StateError(
        `${folder.path}: ${WEIGHTS} has no factors of linears of this model; it has ${some || "nothing"}.`,
      );
    }
    const target = moduleNames(chosen, all);
    const alpha = Number(scale) * Number(rank);
    const adapter = adapt(model, [lora({ rank, alpha, dropout, target } as never)], { modules: [], ...options }); // validated by the method
    checkState(adapter, file);
    return { adapter, state: file };
  },
  write(adapter, model, state) {
    const [method, other] = adapter.methods;
    const c = schema.safeParse(method?.name === lora.method.name ? method.config : null).data;
    const asks = c && Object.entries(plain).filter(([key, value]) => c[key as keyof LoraConfig] !== value);
    if (c === undefined || other !== undefined || asks === undefined || asks.length > 0 || adapter.modules.length > 0)
      throw new ConfigError(
        `mlx-lm's folders hold a plain LoRA and nothing else; this adapter is ${adapter.methods.map((m) => m.name).join(" and ")}${asks?.length ? ` with ${asks.map(([key]) => key).join(", ")}` : ""}${adapter.modules.length > 0 ? ` with ${adapter.modules.join(", ")} trained beside it` : ""}.`,
      );
    const adapted = sites(model).filter((s) => adapts(c, s, model.info));
    const blocks = adapted.map(blockOf);
    const [rank, scale] = [
      one(
        "rank",
        adapted.map((s) => rankAt(c, s)),
      ),
      one(
        "scale",
        adapted.map((s) => scaleAt(c, s)),
      ),
    ];
    const body = bodyOf(adapted);
    const files = renamed(state, (name) => {
      const factor = factors.find(([ours]) => name.endsWith(ours));
      return factor && `model${name.slice(body.length, -factor[0].length)}${factor[1]}`;
    });
    const config = {
      fine_tune_type: "lora",
      // The last blocks; what is given none of its own there starts, and stays, at zero.
      num_layers: model.info.layers - Math.min(...blocks.map((b) => b.layer)),
      lora_parameters: { rank, scale, dropout: c.dropout, keys: [...new Set(blocks.map((b) => b.key))] },
    };
    const tensors = [...files].map(
      ([name, { shape, values }]) => ({ name, dtype: "F32", shape, data: () => Float32Array.from(values) }) as const,
    );
    return { [CONFIG]: `${JSON.stringify(config, null, 2)}\n`, [WEIGHTS]: writeSafetensors(tensors) };
  },
};

/** A linear's block, and its name within it. @throws {ConfigError} if it is in none. */
function blockOf({ path, layer }: Site): { readonly layer: number; readonly key: string } {
  if (layer === null) throw new ConfigError(`mlx-lm adapts linears of blocks; ${path} is in none.`);
  return { layer, key: path.replace(/^.*?\.\d+\./, "") };
}

/** The one value of all. @throws {ConfigError} if they differ. */
function one(what: string, values: readonly number[]): number {
  const [first = 0, second] = new Set(values);
  if (second !== undefined)
    throw new ConfigError(`mlx-lm has one ${what} for all linears; here are ${first} and ${second}.`);
  return first;
}
