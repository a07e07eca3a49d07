/** @file The errors of the contract. */
import { GraftError } from "@graftml/tensor";

/** A value in a configuration that cannot be. `path` says where ("lora.rank"). */
export class ConfigError extends GraftError {}

/** A target that matches no site of the model. */
export class TargetError extends GraftError {}

/** Methods that cannot stand together, or a method made for another contract. */
export class AdaptError extends GraftError {}

/** Something that cannot be folded into weights. */
export class NotMergeable extends GraftError {}

/** Files of an adapter or a model that are damaged, or do not fit the model: missing, unexpected or ill-shaped names. */
export class StateError extends GraftError {}
