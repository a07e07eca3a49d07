/** @file How a method's files look to Hugging Face PEFT. */
import type { Shape, Values } from "@graftml/tensor";
import type { ModelInfo } from "./model.ts";
import type { Site } from "./site.ts";

/** A JSON object as it stands in adapter_config.json. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** A value with its shape. */
export interface ShapedValues {
  readonly shape: Shape;
  readonly values: Values;
  /** Whether a file holds them as 32-bit integers: the places of a sparse change. Default false. */
  readonly whole?: boolean;
}

/** Named values with their shapes. */
export type NamedValues = ReadonlyMap<string, ShapedValues>;

/** What a method's files need to know of the model they are for. */
export interface InterchangeContext {
  readonly model: ModelInfo;
  /** Every site of the model. */
  readonly sites: readonly Site[];
}

/** PEFT's names and layout for a method that PEFT has. */
export interface Interchange<C> {
  /** "LORA" */
  readonly peftType: string;
  /** Whether PEFT's files can say this; default: always. What they cannot is saved in files of ours. */
  holds?(config: C, context: InterchangeContext, owned: NamedValues): boolean;
  /** The method's part of adapter_config.json. */
  toConfig(config: C, context: InterchangeContext, owned: NamedValues): JsonObject;
  /** The method's configuration from adapter_config.json; the result is validated like a user's. */
  fromConfig(json: JsonObject, context: InterchangeContext): Record<string, unknown>;
  /** What stands before every name in the file; default "base_model.model.", PEFT's wrapper and its tuner. */
  readonly prefix?: string;
  /** The same for modules of the base that are saved whole; default likewise. */
  readonly modulesPrefix?: string;
  /**
   * Only where layouts differ (a prefix packs all layers in one tensor). Names are without what stands before them. What is
   * saved may be a plainer form of what is trained (what an MLP made); `toConfig` then describes that.
   */
  readonly tensors?: {
    pack(owned: NamedValues, context: InterchangeContext): NamedValues;
    unpack(file: NamedValues, context: InterchangeContext, config: C): NamedValues;
  };
}
