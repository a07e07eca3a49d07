/** @file An adapter: configured methods resolved on a model, with the parameters they own. */
import { Trace } from "@graftml/tensor";
import { AdaptError, TargetError } from "./errors.ts";
import { copyOf } from "./init.ts";
import { type Adapted, type Attachment, CONTRACT } from "./method.ts";
import { type Model, predict } from "./model.ts";
import { type Census, chosen, type Layer, layersOf, openScope, type Owned, type Scope } from "./scope.ts";
import type { Kind, Site } from "./site.ts";
import { checkAdaptation } from "./target.ts";

/** A stack of configured methods on one model. It holds no values: those live in a store, under the owned names. */
export interface Adapter {
  readonly id: string;
  readonly methods: readonly Adapted[];
  /** The onion's layers, innermost first. */
  readonly layers: readonly Layer[];
  /** Every parameter its methods own, in the order the model meets them. */
  readonly owned: readonly Owned[];
  /** Sites of the model, and which of its methods attach there. */
  readonly sites: readonly { readonly site: Site; readonly methods: readonly string[] }[];
  /** Modules of the base that are trained and saved whole beside its methods: PEFT's `modules_to_save`. */
  readonly modules: readonly string[];
  /** Whether training changes its parameters; a frozen one may lie under another. */
  readonly trainable: boolean;
}

/** Traces a pass through the model once, without a device: one row, a few tokens. */
export function walk<Batch>(model: Model<Batch>, layers: readonly Layer[] = [], { train = true } = {}): Scope {
  const trace = new Trace();
  const scope = openScope(trace, layers, { train, model: model.info });
  const length = Math.min(8, model.info.maxLength);
  predict(model, scope, { batch: 1, length });
  return scope;
}

/** Everything a pass through the model meets. */
export const census = <Batch>(
  model: Model<Batch>,
  layers?: readonly Layer[],
  options?: { readonly train?: boolean },
): Census => walk(model, layers, options).census;

/** Every site of a model: what a method may attach to. */
export const sites = <Batch>(model: Model<Batch>): readonly Site[] => census(model).sites;

/** Where an adapter stands. */
export interface AdaptOptions {
  /** Names of its parameters begin with it; default "default". Files never hold it. */
  readonly id?: string;
  /** Whether training changes it; default true. */
  readonly trainable?: boolean;
  /** Adapters that lie inside this one; they are met first. */
  readonly below?: readonly Adapter[];
  /**
   * Modules of the base to train and save whole beside the methods, by the ends of their paths; default: the task's head, and
   * a pooler that is `drawn`, if the adapter is trainable, its methods leave that to us, and no adapter below has it already.
   */
  readonly modules?: readonly string[] | undefined;
  /** Parameters of the base that are no pretrained values but drawn at random. */
  readonly drawn?: readonly string[] | undefined;
}

/**
 * Resolves methods on a model, first = innermost.
 *
 * @throws {AdaptError} if a method speaks another contract, two cannot stand together, or what is trained is not saved.
 * @throws {TargetError} if a target matches nothing.
 */
export function adapt<Batch>(
  model: Model<Batch>,
  methods: readonly Adapted[],
  { id = "default", trainable = true, below = [], modules: named, drawn = [] }: AdaptOptions = {},
): Adapter {
  for (const { name, method } of methods)
    if (method.contract !== CONTRACT)
      throw new AdaptError(
        `${name} speaks contract ${String(method.contract)}; this version of @graftml/peft speaks ${CONTRACT}.`,
      );
  if (id.includes("/") || id === "")
    throw new AdaptError(`"${id}" is no adapter id: it must not be empty or contain "/".`);
  if (below.some((a) => a.id === id)) throw new AdaptError(`two adapters of the stack have the id "${id}".`);
  const under = below.flatMap((a) => a.layers);
  const taken = below.flatMap((a) => a.modules);
  const own = trainable && methods.every((m) => m.heads) ? headModules(sites(model), drawn) : [];
  const modules = named ?? own.filter((module) => !taken.includes(module));
  const layers = [...savedModules(id, modules, sites(model)), ...layersOf(id, methods)];
  const found = census(model, [...under, ...layers]);
  for (const { name, adaptation } of methods) checkAdaptation(name, adaptation, found.sites, model.info);
  const owned = [...found.owned.values()].filter((o) => o.name.startsWith(`${id}/`));
  for (const { name, trainable: trained, persist, dtype, layer } of owned)
    if (trained && !(persist === true && dtype === "f32"))
      throw new AdaptError(`${layer.name} trains ${name}; what is trained must be saved, and be f32.`);
  const attachedTo = (site: Site): string[] =>
    methods.flatMap(({ name, adaptation }) => {
      const attachment = adaptation[site.kind];
      return attachment !== undefined && chosen<Kind>(attachment as Attachment<Kind>, site, model.info) ? [name] : [];
    });
  return {
    id,
    methods,
    layers,
    owned,
    sites: found.sites.map((site) => ({ site, methods: attachedTo(site) })),
    modules,
    trainable,
  };
}

/** Modules that hold the task's head, by the first names of their paths ("classifier"), and those of a pooler that is drawn. */
const headModules = (all: readonly Site[], drawn: readonly string[]): readonly string[] => {
  const parameters = all.filter((s) => s.kind === "param");
  const heads = parameters.filter((s) => s.roles.includes("head")).map(({ path }) => path.split(".")[0] ?? "");
  const poolers = parameters
    .filter((s) => s.roles.includes("pooler") && drawn.includes(s.path))
    .map(({ path }) => path.split(".").slice(0, -1).join("."));
  return [...new Set([...heads, ...poolers])];
};

/** Innermost: trained copies of all that these modules hold and no method has a copy of itself. @throws {TargetError} if there is no such module. */
function savedModules(id: string, modules: readonly string[], all: readonly Site[]): readonly Layer[] {
  if (modules.length === 0) return [];
  const parameters = all.filter((s) => s.kind === "param");
  const within = (module: string, { path }: Site): boolean => `.${path}`.includes(`.${module}.`);
  for (const module of modules)
    if (!parameters.some((s) => within(module, s)))
      throw new TargetError(
        `${module} is to be trained and saved whole, but the model has no such module. There are: ${[...new Set(parameters.map((s) => s.path.split(".").slice(0, -1).join(".")))].join(", ")}.`,
      );
  const at = (site: Site): boolean => modules.some((module) => within(module, site));
  const wrap: Attachment<"param">["wrap"] = (_, __, { own, site }) => own("", site.shape, copyOf(site.path));
  return [{ id, name: modules.join(" and "), adaptation: { param: { at, wrap } }, yields: true }];
}
