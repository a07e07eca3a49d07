/** @file From a checked run file to what commands work with: model, stack of adapters, rows, store. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type LoadedModel, loadModel, loadPreparation, type Preparation } from "@graftml/models";
import {
  adapt,
  type Adapter,
  type AnyMethod,
  declareAdapter,
  declareBase,
  type NamedValues,
  type TrainableBucket,
} from "@graftml/peft";
import { loadAdapter } from "@graftml/peft/files";
import { bitsandbytes } from "@graftml/quant";
import { GraftError, type Runtime, sameShape, type Shape, sizeOf, type Store } from "@graftml/tensor";
import { multiLabel } from "@graftml/trainer";
import { findLabels, type GivenLabels } from "./data/labels.ts";
import type { KeyPath } from "./flags.ts";
import { localAdapter, localModel } from "./hub/local.ts";
import { showDownloads } from "./hub/progress.ts";
import { findMethod, loadFormats, loadPackage, type MethodPackage, methodPackages } from "./resolve.ts";
import { checkAgainst, type RunSource } from "./run-file.ts";
import type { Run } from "./schema.ts";

/** One adapter of a stack; without a state its parameters have their methods' own starts. */
export interface Placed {
  readonly adapter: Adapter;
  readonly state?: NamedValues;
}

/** What a run file names, opened. */
export interface Session {
  /** With the classes that were found, where the task has some. */
  readonly run: Run;
  readonly loaded: LoadedModel;
  /** Where the model lies: the run's own folder, or the copy of what it names on the Hub. */
  readonly folder: string;
  /** How images are prepared; null if the folder does not say. */
  readonly preparation: Preparation | null;
  /** Innermost first. */
  readonly stack: readonly Placed[];
  /** The one of the stack that is trained, if any. */
  readonly trained: Adapter | undefined;
}

/** What else a session is opened with. */
export interface SessionOptions {
  /** Which adapter takes the place of the one to train: that of a finished run. */
  readonly trained?: string | undefined;
  /** Training data, whose labels tell the classes where the run does not. */
  readonly given?: GivenLabels | undefined;
  /** Whether the run is only to be planned: weights that are not on this machine are then not fetched, only described. */
  readonly planned?: boolean;
}

/**
 * Opens a model and its adapters without a device.
 * @returns what was opened, or every problem found on the way.
 */
export async function openSession(
  run: Run,
  source: RunSource,
  { trained, given = { labels: new Set(), names: undefined, several: false }, planned = false }: SessionOptions = {},
): Promise<{ readonly session: Session | undefined; readonly problems: readonly string[] }> {
  const problems: string[] = [];
  const attempt = async <T>(key: KeyPath, open: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await open();
    } catch (error) {
      if (!GraftError.is(error)) throw error;
      problems.push(...error.message.split("\n").map((line) => `${source.where(key)}: ${line}`));
      return undefined;
    }
  };
  const { weights, init, model_dropout: dropout, train } = run;
  const opened = await attempt(["model"], async () => {
    const report = showDownloads();
    const folder = await localModel(run.model, { weights: false, report });
    const labels = run.data.labels ?? findLabels(folder, given);
    const formats = [bitsandbytes];
    const options = {
      task: run.task,
      labels: labels ?? null,
      multiLabel: run.data.multi_label ?? (given.several ? true : null),
      weights,
      init: planned && init === "pretrained" ? "described" : init,
      dropout,
      seed: train.seed,
      formats,
    } as const;
    const preparation = await loadPreparation(folder);
    // Of a model on the Hub it is checked whether it can be used before its weights are fetched.
    if (folder !== run.model) await loadModel(folder, { ...options, init: "random" });
    if (options.init === "pretrained") await localModel(run.model, { weights: true, report });
    const loaded = await loadModel(folder, options);
    const told = {
      ...(labels && { labels: [...labels] }),
      ...(multiLabel(loaded.model.info) && { multi_label: true }),
    };
    return { folder, loaded, preparation, run: { ...run, data: { ...run.data, ...told } } };
  });
  const packages = methodPackages();
  const configured = await configuredMethods(run, source, packages, problems);
  const stack =
    opened &&
    (await attempt(run.adapter === undefined ? ["methods"] : ["adapter"], () =>
      openStack(run, opened.loaded, configured, packages, trained),
    ));
  if (opened === undefined || stack === undefined || problems.length > 0) return { session: undefined, problems };
  const training = stack.map(({ adapter }) => adapter).filter((a) => a.trainable);
  if (training.length > 1)
    problems.push(
      `${source.where(["adapter"])}: ${training.length} adapters would be trained at once; only one can be. Say frozen: true at the others.`,
    );
  return { session: problems.length > 0 ? undefined : { ...opened, stack, trained: training[0] }, problems };
}

interface ConfiguredMethod {
  readonly method: AnyMethod;
  readonly keys: Readonly<Record<string, unknown>>;
}

/** Methods of a run, with their keys checked against their own schemas. */
async function configuredMethods(
  run: Run,
  source: RunSource,
  packages: readonly MethodPackage[],
  problems: string[],
): Promise<readonly ConfiguredMethod[]> {
  const found: ConfiguredMethod[] = [];
  for (const [i, { name, ...keys }] of run.methods.entries())
    try {
      const method = await findMethod(name, packages);
      const checked = checkAgainst(method.method.config.strict(), keys, source, ["methods", i]);
      problems.push(...checked.problems);
      if (checked.value !== undefined) found.push({ method, keys });
    } catch (error) {
      if (!GraftError.is(error)) throw error;
      problems.push(`${source.where(["methods", i, "name"])}: ${error.message}`);
    }
  return found;
}

async function openStack(
  run: Run,
  { model, methods, drawn }: LoadedModel,
  configured: readonly ConfiguredMethod[],
  packages: readonly MethodPackage[],
  trained: string | undefined,
): Promise<readonly Placed[]> {
  const given =
    run.adapter === undefined
      ? []
      : typeof run.adapter === "string"
        ? [{ path: run.adapter, frozen: false, inside: false }]
        : [run.adapter].flat();
  const finished = given.map((entry) => (entry.frozen || trained === undefined ? entry : { ...entry, path: trained }));
  // Each method's keys were checked by its own schema: what it is called with is what it takes.
  const made = configured.map(({ method, keys }) => method(keys as never));
  // How the base is stored is no part of what is trained on it, and does not depend on whether that is new.
  const storing = [...methods, ...made.filter(({ method }) => method.storesBase === true)];
  const training = made.filter(({ method }) => method.storesBase !== true);
  const stack: Placed[] = [];
  const below = (): { readonly below: readonly Adapter[] } => ({ below: stack.map((s) => s.adapter) });
  const readers = given.length === 0 && trained === undefined ? [] : await allMethods(configured, packages);
  const formats = readers.length === 0 ? [] : await loadFormats(packages);
  const load = async (path: string, id: string, trainable: boolean): Promise<void> => {
    const options = { formats, id, trainable, ...below() };
    stack.push(await loadAdapter(await localAdapter(path), model, readers, options));
  };
  if (storing.length > 0) stack.push({ adapter: adapt(model, storing, { id: "base", trainable: false }) });
  for (const [i, { path, frozen }] of finished.filter((entry) => entry.inside).entries())
    await load(path, frozen ? `inside-${i}` : "default", !frozen);
  // What methods made stands where they stood.
  const own = trained === undefined && training.length > 0;
  if (own) stack.push({ adapter: adapt(model, training, { ...below(), drawn }) });
  else if (trained !== undefined && !finished.some((entry) => entry.path === trained))
    await load(trained, "default", true);
  for (const [i, { path, frozen }] of finished.filter((entry) => !entry.inside).entries())
    await load(path, frozen ? `frozen-${i}` : own ? `adapter-${i}` : "default", !frozen);
  return stack;
}

/** Methods that may be in an adapter's files: all that are installed, and those that the run names by path. */
async function allMethods(
  configured: readonly ConfiguredMethod[],
  packages: readonly MethodPackage[],
): Promise<readonly AnyMethod[]> {
  const installed = await Promise.all(packages.map(loadPackage));
  return [...new Set([...configured.map((c) => c.method), ...installed.flat()])];
}

/** Makes a session's parameters known to a store of a runtime; nothing is allocated. */
export function declareSession(
  runtime: Runtime,
  { run, loaded: { base }, stack }: Session,
): { readonly store: Store; readonly trainable: readonly TrainableBucket[] } {
  const store = runtime.store();
  declareBase(store, base);
  const seed = run.train.seed;
  const trainable = stack.flatMap(({ adapter, state }) => [
    ...declareAdapter(store, adapter, base, { seed, ...(state && { state }) }),
  ]);
  return { store, trainable };
}

/**
 * Numbers of parameters: those that are trained, and all there are, the adapters' included. What is owned at a parameter's
 * site in its shape stands for that parameter and is not counted twice: full fine-tuning trains 100 %.
 */
export function countParameters({ loaded: { base }, stack, trained }: Session): {
  readonly trainable: number;
  readonly total: number;
} {
  const sum = (shapes: readonly Shape[]): number => shapes.reduce((n, shape) => n + sizeOf(shape), 0);
  const ofBase = sum([...base.names()].map((name) => base.describe(name)?.shape ?? []));
  const added = stack.flatMap(({ adapter }) =>
    adapter.owned.filter((o) => o.persist && !(o.site.kind === "param" && sameShape(o.site.shape, o.shape))),
  );
  const trainable = (trained?.owned ?? []).filter((o) => o.trainable);
  return { trainable: sum(trainable.map((o) => o.shape)), total: ofBase + sum(added.map((o) => o.shape)) };
}

/** Where a finished run keeps its adapter, if it has one. */
export function finishedAdapter({ out }: Run): string | undefined {
  const folder = out === undefined ? undefined : join(out, "adapter");
  return folder !== undefined && existsSync(join(folder, "adapter_config.json")) ? folder : undefined;
}
