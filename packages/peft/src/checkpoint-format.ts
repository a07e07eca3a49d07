/** @file Checkpoints that store weights in a way of their own: packages bring the formats, models read and write by them. */
import type { JsonObject } from "./interchange.ts";
import type { Adapted } from "./method.ts";
import type { Base, Model } from "./model.ts";
import type { TensorToWrite } from "./safetensors.ts";
import type { Site } from "./site.ts";
import type { TensorFile } from "./tensor-file.ts";

/** A way of storing weights that config.json announces under `quantization_config`. */
export interface CheckpointFormat {
  /** Its `quant_method`. */
  readonly name: string;
  /**
   * Opens a checkpoint of this format.
   * @param file what lies in the folder.
   * @param settings the `quantization_config`.
   * @throws {StateError} naming a tensor that is missing or not what its description says.
   */
  open<Batch>(file: TensorFile, settings: JsonObject, model: Model<Batch>): Promise<OpenedCheckpoint>;
}

/** A checkpoint as plain weights, and the methods that use it without making it so. */
export interface OpenedCheckpoint {
  /** The same checkpoint with every weight in full, decoded when it is read. */
  readonly file: TensorFile;
  /** To stand innermost: they put the stored form in the weights' place. */
  readonly methods: readonly Adapted[];
  /** How weights are written as this checkpoint stores them. @throws {ConfigError} if it is only read. */
  readonly writer: () => CheckpointWriter;
}

/** How a model is written in such a format. */
export interface CheckpointWriter {
  /** What config.json says under `quantization_config`. */
  readonly settings: JsonObject;
  /** Tensors that stand for a parameter; null: it is stored as it is. */
  tensors(parameter: Site, base: Base): Promise<readonly TensorToWrite[] | null>;
}
