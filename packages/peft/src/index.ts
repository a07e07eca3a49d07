/** @file The public surface of @graftml/peft: the contract between models, methods, trainers and files. */
export { z } from "zod";
export { adapt, type Adapter, type AdaptOptions, census, sites } from "./adapt.ts";
export { contextTaken, type Cost, costOf } from "./cost.ts";
export { AdaptError, ConfigError, NotMergeable, StateError, TargetError } from "./errors.ts";
export type { CheckpointFormat, CheckpointWriter, OpenedCheckpoint } from "./checkpoint-format.ts";
export {
  type AdapterFormat,
  type FileContent,
  type Folder,
  readJson,
  readTensors,
  type WriteOptions,
} from "./adapter-format.ts";
export { widenHalf } from "./half.ts";
export { copyOf, type Init, kaimingUniform, normal, ones, type Rng, rngOf, uniformWithin, zeros } from "./init.ts";
export type { Interchange, InterchangeContext, JsonObject, NamedValues, ShapedValues } from "./interchange.ts";
export { merge } from "./merge.ts";
export { mixed, type Mixture } from "./mixture.ts";
export {
  type Adaptation,
  type Adapted,
  type Attachment,
  type Combining,
  type Configurable,
  CONTRACT,
  defineMethod,
  type Group,
  type Here,
  type LinearAttachment,
  type LinearWeights,
  type Mention,
  type Method,
  type OwnOptions,
  parseConfig,
  type Wrap,
} from "./method.ts";
export { type Base, type BatchSize, type Model, type ModelInfo, predict, type TokenBatch } from "./model.ts";
export { moduleNames, namedModules, refuseRest } from "./peft-config.ts";
export type { Between, Changes, Pause } from "./pause.ts";
export type { Progress } from "./progress.ts";
export {
  type ByteSource,
  type FileType,
  type Header,
  readHeader,
  type TensorEntry,
  type TensorToWrite,
  widthOf,
  writeSafetensors,
} from "./safetensors.ts";
export { type Census, inF32, type Layer, openScope, type Owned, type Scope, type ScopeOptions } from "./scope.ts";
export { type Heads, type Kind, type Kinds, type Next, type Residual, type Site, type SiteSpec } from "./site.ts";
export {
  type AdapterFiles,
  type AnyMethod,
  checkState,
  decodeAdapter,
  type Loaded,
  encodeAdapter,
  type EncodeOptions,
  nameWithin,
} from "./state.ts";
export { declareAdapter, declareBase, readState, storedType, type TrainableBucket } from "./store.ts";
export { openSafetensors, openShards, type TensorFile } from "./tensor-file.ts";
export { covers, nearest, type Target } from "./target.ts";
