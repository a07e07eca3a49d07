/** @file The onion: a scope descends through a model, and every site it meets is wrapped by the methods that chose it. */
import { cast, dropout, type DType, linear, type Shape, type Tensor, type Trace, uniform } from "@graftml/tensor";
import { AdaptError } from "./errors.ts";
import type { Init } from "./init.ts";
import type { Adaptation, Adapted, Attachment, Here, OwnOptions } from "./method.ts";
import { crossings, type Joint, type Leads, type Mixture } from "./mixture.ts";
import type { ModelInfo } from "./model.ts";
import type { Progress } from "./progress.ts";
import { type Kind, type Kinds, type Next, type Site, siteOf, type SiteSpec } from "./site.ts";
import { covers } from "./target.ts";

/** One layer of the onion: what a configured method, or a runtime such as a key-value cache, does at its sites. */
export interface Layer {
  /** Id of the adapter it belongs to; owned names begin with it. */
  readonly id: string;
  /** Its name, for messages. */
  readonly name: string;
  readonly adaptation: Adaptation;
  /** Whether it only changes how the base is stored: another that replaces a parameter may stand around it. */
  readonly storesBase?: boolean;
  /** What it does, in words: layers of one key do the same with parameters of their own. */
  readonly key?: string;
  /** Whether a layer around it may take its place at a site; default false: that is an error. */
  readonly yields?: boolean;
  /** Stacks among which the rows of a batch choose, in the place of a single one. */
  readonly mixture?: Mixture;
}

/** A parameter that a method owns. */
export interface Owned extends Required<OwnOptions> {
  /** `id/path.name`, or `id/name` if shared. */
  readonly name: string;
  readonly shape: Shape;
  readonly init: Init;
  readonly layer: Layer;
  readonly site: Site;
}

/** What is met on the way through a model. */
export interface Census {
  readonly sites: Site[];
  readonly owned: Map<string, Owned>;
  readonly penalties: Tensor[];
  readonly scalars: Map<string, (progress: Progress) => number>;
}

export interface ScopeOptions {
  readonly train: boolean;
  readonly model: ModelInfo;
  /** Stored type of a base parameter; f32 if absent. */
  readonly dtypeOf?: ((name: string) => DType) | undefined;
}

/** A place in a model, and the way to the places inside it. */
export interface Scope {
  readonly trace: Trace;
  /** Hugging Face's module path; "" at the top. */
  readonly path: string;
  /** Whether this is a training pass. */
  readonly train: boolean;
  /** What has been met so far. */
  readonly census: Census;
  /** Descends: `at("self_attn")`. */
  at(name: string): Scope;
  /** A base parameter, as methods left it; always f32 or f16. Roles default to ["weight"] or ["bias"], by the name's end. */
  param(name: string, shape: Shape, roles?: readonly string[]): Tensor;
  /** Goes through a site of any kind: methods first, `base` innermost. */
  call<K extends Kind>(kind: K, spec: SiteSpec, input: Kinds[K]["input"], base: Next<K>): Kinds[K]["output"];
  /**
   * y = x Wᵀ + b at a linear site, with the parameters named in Hugging Face's way. Their roles are "weight" and "bias", and
   * those of the linear.
   */
  linear(x: Tensor, spec: SiteSpec & { readonly in: number; readonly out: number }): Tensor;
  /** The model's own dropout: acts while training. */
  dropout(x: Tensor, p: number): Tensor;
  /** Seed and step, u32 [2]: what noise depends on, beside its name. */
  clock(): Tensor;
}

/**
 * Opens a scope at the top of a model.
 * @param layers the onion, innermost first.
 */
export function openScope(trace: Trace, layers: readonly Layer[], options: ScopeOptions): Scope {
  const census: Census = { sites: [], owned: new Map(), penalties: [], scalars: new Map() };
  const params = new Map<string, Tensor>();
  const seen = new Set<string>();
  const { model } = options;
  const leads: Leads = new Map();
  const clock = (): Tensor => trace.input("clock", [2], "u32");

  const meet = (site: Site): void => {
    const key = `${site.kind} ${site.path}`;
    if (!seen.has(key)) census.sites.push(site);
    seen.add(key);
  };

  const param = (name: string, shape: Shape, roles: readonly string[]): Tensor => {
    const site = siteOf("param", name, { roles, shape });
    const own = stack !== null && changes(stack, site);
    const key = own ? `${stack} ${name}` : name;
    const known = params.get(key);
    if (known !== undefined) return known;
    const stored = (): Tensor =>
      trace.param(name, shape, shape.length < 2 ? "f32" : (options.dtypeOf?.(name) ?? "f32"));
    const value = trace.within(name, () =>
      onion("param", site, undefined, stored, stack === null ? layers : inStack(stack)),
    );
    params.set(key, value);
    return value;
  };

  /** Whose parameters linears use: a stack's of a mixed batch, by its number, or −1 for those that all rows share. */
  let stack: number | null = null;
  /** The onion as a stack alone would make it. */
  const inStack = (number: number): readonly Layer[] =>
    layers.flatMap((layer) => (layer.mixture === undefined ? [layer] : (layer.mixture.stacks[number] ?? [])));
  /** Whether a stack of a mixed batch changes a parameter. */
  const changes = (number: number, site: Site<"param">): boolean =>
    layers.some((layer) =>
      layer.mixture?.stacks[number]?.some(({ adaptation: { param: p } }) => p !== undefined && chosen(p, site, model)),
    );
  const within = <R>(number: number, run: () => R): R => {
    const before = stack;
    stack = number;
    try {
      return run();
    } finally {
      stack = before;
    }
  };

  /** Names, shapes and roles of the parameters of a linear, or of a table. */
  const weightIn = (site: Site) =>
    [
      site.weight,
      site.kind === "embedding" ? [site.in, site.out] : [site.out, site.in],
      ["weight", ...site.roles],
    ] as const;
  const biasIn = (site: Site) => [`${site.path}.bias`, [site.out], ["bias", ...site.roles]] as const;
  const weightOf = (site: Site): Tensor => param(...weightIn(site));
  const biasOf = (site: Site): Tensor | null => (site.bias ? param(...biasIn(site)) : null);
  const changesLinear =
    (site: Site) =>
    (number: number): boolean =>
      [weightIn(site), ...(site.bias ? [biasIn(site)] : [])].some(([name, shape, roles]) =>
        changes(number, siteOf("param", name, { shape, roles })),
      );

  const here = <K extends Kind>(layer: Layer, site: Site<K>): Here<K> => ({
    site,
    model: options.model,
    train: options.train,
    own: (name, shape, init, own = {}) => {
      const within = own.shared === true ? name : name === "" ? site.path : `${site.path}.${name}`;
      const full = `${layer.id}/${within}`;
      const known = census.owned.get(full);
      if (known !== undefined && known.layer !== layer)
        throw new AdaptError(
          `${layer.name} and ${known.layer.name} both own ${full}; give one of them an adapter of its own, with another id.`,
        );
      const defaults = {
        trainable: true,
        persist: true,
        shared: false,
        lrScale: 1,
        decay: true,
        dtype: "f32",
      } as const;
      if (known === undefined) census.owned.set(full, { ...defaults, ...own, name: full, shape, init, layer, site });
      return trace.param(full, shape, own.dtype ?? "f32");
    },
    penalize: (term) => void census.penalties.push(term),
    scalar: (name, at) => {
      const full = `${layer.id}/${site.path}.${name}`;
      census.scalars.set(full, at);
      return trace.input(full, [], "f32");
    },
    uniform: (name, shape) => uniform(clock(), `${layer.id}/${site.path}.${name}`, shape),
    weight: () => weightOf(site),
    bias: () => biasOf(site),
  });

  const attachedAt = <K extends Kind>(kind: K, site: Site<K>, some: readonly Layer[]): readonly Attached<K>[] =>
    some.flatMap((layer) => {
      // The attachment under key K is for kind K: Adaptation says so, but an indexed access cannot.
      const attachment = layer.adaptation[kind] as Attachment<K> | undefined;
      return attachment !== undefined && chosen(attachment, site, model) ? [{ layer, attachment }] : [];
    });

  /** Stacks of a mixed batch that attach to a site with the same methods in the same configurations. */
  const jointAt = <K extends Kind>(kind: K, site: Site<K>, stacks: Mixture["stacks"]): readonly Joint<K>[] => {
    if (options.train) return []; // noise has no rows of its own
    const groups = new Map<string, { readonly number: number; readonly attached: readonly Attached<K>[] }[]>();
    for (const [number, some] of stacks.entries()) {
      const attached = attachedAt(kind, site, some);
      if (attached.length === 0 || changesLinear(site)(number)) continue;
      const key = attached.map(({ layer }) => layer.key ?? `${number}`).join();
      groups.set(key, [...(groups.get(key) ?? []), { number, attached }]);
    }
    const many = [...groups.values()].filter((members) => members.length > 1);
    return many.map((members) => ({
      stacks: members.map((m) => m.number),
      around: (pick) => (base) =>
        (members[0]?.attached ?? []).reduce<Next<K>>((next, { layer, attachment }, depth) => {
          const places = members.flatMap((m) => (m.attached[depth] ? [here(m.attached[depth].layer, site)] : []));
          const own: Here<K>["own"] = (...given) => pick(places.map((place) => place.own(...given)));
          return (input) => attachment.wrap(input, next, { ...here(layer, site), own });
        }, base),
    }));
  };

  /** What layers make of a site: `base`, and around it, from inside out, those that attach there; null if none does. */
  const wrapped = <K extends Kind>(
    kind: K,
    site: Site<K>,
    some: readonly Layer[],
  ): ((base: Next<K>) => Next<K>) | null => {
    // What a residual gets comes out of the sublayer: there the innermost method is met first.
    const order = kind === "residual" ? some.toReversed() : some;
    const attached = order.flatMap(
      (layer): { readonly layer: Layer; readonly around: (next: Next<K>) => Next<K> }[] => {
        if (layer.mixture !== undefined) {
          const { index, stacks } = layer.mixture;
          const through = stacks.map((some) => wrapped(kind, site, some));
          // Only a linear may have parameters that differ from row to row.
          const own =
            kind === "linear" ? { changes: changesLinear(site), within, joint: jointAt(kind, site, stacks) } : shared;
          return [
            {
              layer,
              around: (next) => (input) => crossings[kind]({ site, model, input, next, through, ...own }, index, leads),
            },
          ];
        }
        return attachedAt(kind, site, [layer]).map(({ attachment }) => ({
          layer,
          around: (next) => (input) => attachment.wrap(input, next, here(layer, site)),
        }));
      },
    );
    if (attached.length === 0) return null;
    return (base) =>
      attached.reduce<Next<K>>(
        (next, { layer, around }, i) =>
          i === 0 || (attached[i - 1]?.layer.storesBase === true && layer.storesBase !== true)
            ? around(next)
            : reaching(site, layer, attached[i - 1]?.layer, next, around),
        base,
      );
  };

  const onion = <K extends Kind>(
    kind: K,
    site: Site<K>,
    input: Kinds[K]["input"],
    base: Next<K>,
    some: readonly Layer[] = layers,
  ): Kinds[K]["output"] => {
    meet(site);
    return (wrapped(kind, site, some)?.(base) ?? base)(input);
  };

  const scopeAt = (path: string): Scope => {
    const inside = (name: string): string => (path === "" ? name : `${path}.${name}`);
    return {
      trace,
      path,
      train: options.train,
      census,
      at: (name) => scopeAt(inside(name)),
      param: (name, shape, roles) => param(inside(name), shape, roles ?? [name.endsWith("bias") ? "bias" : "weight"]),
      call: (kind, spec, input, base) => trace.within(path, () => onion(kind, siteOf(kind, path, spec), input, base)),
      linear: (x, spec) => {
        const site = siteOf("linear", path, spec);
        return trace.within(path, () => onion("linear", site, x, (y) => linear(y, weightOf(site), biasOf(site))));
      },
      dropout: (x, p) =>
        options.train && p > 0
          ? trace.within(path, () => dropout(x, p, () => uniform(clock(), `dropout ${path}`, x.shape)))
          : x,
      clock,
    };
  };
  return scopeAt("");
}

/** A layer that attaches to a site. */
interface Attached<K extends Kind> {
  readonly layer: Layer;
  readonly attachment: Attachment<K>;
}

/** Where all rows have the same parameters. */
const shared = { changes: () => false, within: <R>(_: number, run: () => R): R => run(), joint: [] };

/** What a layer makes of a site. @throws {AdaptError} if it never reaches the layer inside it. */
const reaching =
  <K extends Kind>(
    { path }: Site<K>,
    layer: Layer,
    hidden: Layer | undefined,
    next: Next<K>,
    around: (next: Next<K>) => Next<K>,
  ): Next<K> =>
  (input) => {
    let reached = false;
    const result = around((x) => {
      reached = true;
      return next(x);
    })(input);
    if (!reached && hidden?.yields !== true)
      throw new AdaptError(
        `${layer.name} replaces ${path} and so hides ${hidden?.name}; leave ${path} out of one of them, or change their order.`,
      );
    return result;
  };

/** Whether an attachment is for this site of a model. */
export const chosen = <K extends Kind>({ at, exclude }: Attachment<K>, site: Site<K>, model: ModelInfo): boolean =>
  covers(at, site, model) && !(exclude !== undefined && covers(exclude, site, model));

/** The onion's layers of configured methods that share an adapter's id. */
export const layersOf = (id: string, methods: readonly Adapted[]): Layer[] =>
  methods.map(({ name, config, adaptation, method: { storesBase } }) => ({
    id,
    name,
    adaptation,
    key: JSON.stringify([name, config]),
    ...(storesBase !== undefined && { storesBase }),
  }));

/** A parameter in f32, for arithmetic other than products. */
export const inF32 = (x: Tensor): Tensor => cast(x, "f32");
