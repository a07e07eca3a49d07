/**
 * @file T-Few's checkpoints of (IA)³: one file of vectors that scale outputs, `….SelfAttention.k.multi_lora_b` [out, 1].
 * @see T-Few `src/models/lora.py`, `pretrained_checkpoints/`.
 */
import {
  adapt,
  type AdapterFormat,
  checkState,
  type Folder,
  moduleNames,
  type NamedValues,
  readTensors,
  sites,
  StateError,
} from "@graftml/peft";
import { ia3 } from "./ia3.ts";

const SUFFIX = /\.multi_lora_b$/;

/** The only file of tensors, if there is one and nothing that says what it is. */
function fileIn({ names }: Folder): string | undefined {
  const [file, other] = names.filter((name) => /\.(?:safetensors|pt|bin)$/.test(name));
  return other === undefined && !names.includes("adapter_config.json") ? file : undefined;
}

async function readVectors(folder: Folder): Promise<NamedValues> {
  const file = fileIn(folder);
  return file === undefined ? new Map() : readTensors(folder, file);
}

/** (IA)³ as T-Few saves it. It scales the output of `wi_1` where PEFT scales what enters `wo`: the same function. */
export const tFew: AdapterFormat = {
  name: "t-few",
  recognises: async (folder) => {
    const names = [...(await readVectors(folder)).keys()];
    return names.length > 0 && names.every((name) => SUFFIX.test(name));
  },
  async read(folder, model, _, options = {}) {
    const state = new Map([...(await readVectors(folder))].map(([name, v]) => [name.replace(SUFFIX, ".ia3_l"), v]));
    const all = sites(model).filter((s) => s.kind === "linear");
    const scaled = all.filter((s) => state.has(`${s.path}.ia3_l`));
    if (scaled.length === 0)
      throw new StateError(
        `${folder.path} has no vectors for this model; the first is for ${[...state.keys()][0]?.replace(".ia3_l", "")}.`,
      );
    const adapter = adapt(model, [ia3({ target: [...moduleNames(scaled, all)], feedforward: [] })], {
      modules: [],
      ...options,
    });
    checkState(adapter, state);
    return { adapter, state };
  },
};
