/** @file Folding adapters into the weights of a base. */
import { fill, hostRuntime, leaf, type LeafAttrs, type Tensor, type Trace, type Values } from "@graftml/tensor";
import { walk } from "./adapt.ts";
import { NotMergeable } from "./errors.ts";
import type { Attachment, Here, LinearWeights, Wrap } from "./method.ts";
import type { Base, Model } from "./model.ts";
import { chosen, inF32, type Layer, openScope } from "./scope.ts";
import type { Kind, Site } from "./site.ts";
import type { Loaded } from "./state.ts";
import { declareAdapter, declareBase, storedType } from "./store.ts";

/**
 * A base with adapters folded in, first = innermost. Nothing is computed before it is read, and then one parameter at a time,
 * in float64, rounded to f32 at the end; parameters that no method changes are those of `base`, which itself stays as it is.
 *
 * A parameter is what its `param` wraps make of it; then each method's `merge` changes it, inner ones first.
 * @throws {NotMergeable} if a method does what no weights can, if a weight to be folded into serves a second place, or if a
 *   value is NaN or infinite: then already here, or on reading a parameter that the fold makes so.
 */
export function merge<Batch>(model: Model<Batch>, base: Base, loaded: readonly Loaded[]): Base {
  checkFinite(loaded);
  const layers = loaded.flatMap(({ adapter }) => adapter.layers);
  const changed = changes(model, walk(model, layers, { train: false }).census.sites, layers);
  return {
    names: () => base.names(),
    describe: (name) => {
      const described = base.describe(name);
      return described && changed.has(name) ? { ...described, dtype: "f32" } : described;
    },
    read: async (name) => {
      const site = changed.get(name);
      if (site === undefined) return base.read(name);
      const runtime = hostRuntime();
      const store = runtime.store();
      declareBase(store, base);
      // Frozen, so that only what this parameter needs is read; what is not in the state follows from base and configuration.
      for (const { adapter, state } of loaded)
        declareAdapter(store, { ...adapter, trainable: false }, base, { seed: 0, state });
      const program = await runtime.compile(store, (trace) => ({
        value: folded(trace, model, base, layers, name, site),
      }));
      const { value = [] } = await program.run({});
      return finite(`folding ${namesOf(layers)} into ${name} gives`, Float32Array.from(value));
    },
  };
}

const namesOf = (layers: readonly Layer[]): string => [...new Set(layers.map((l) => l.name))].join(" and ");

function finite<V extends Values>(what: string, values: V): V {
  const bad = values.find((v: number) => !Number.isFinite(v));
  if (bad !== undefined) throw new NotMergeable(`${what} ${bad}. The base is untouched.`);
  return values;
}

function checkFinite(loaded: readonly Loaded[]): void {
  for (const { adapter, state } of loaded)
    for (const [name, { values }] of state) finite(`${adapter.id}/${name} holds`, values);
}

/** The site that makes each changed parameter: a linear or a table that methods fold into, or the parameter's own. */
function changes<Batch>(
  model: Model<Batch>,
  sites: readonly Site[],
  layers: readonly Layer[],
): ReadonlyMap<string, Site> {
  const uses = usesOf(model);
  const changed = new Map<string, Site>();
  for (const site of sites)
    for (const layer of layers) {
      // An attachment under a kind's key is for sites of that kind.
      const attachment = layer.adaptation[site.kind] as Attachment<Kind> | undefined;
      if (attachment === undefined || !chosen(attachment, site, model.info)) continue;
      if (site.kind === "param") {
        if (!changed.has(site.path)) changed.set(site.path, site);
        continue;
      }
      if (!((site.kind === "linear" || site.kind === "embedding") && layer.adaptation[site.kind]?.merge !== undefined))
        throw new NotMergeable(
          `${layer.name} cannot be merged: it acts on the ${site.kind} at ${site.path}. Only changes of parameters, and of linears and token tables by a method that says how, fold into weights.`,
        );
      const others = [...(uses.get(site.weight) ?? [])].filter((place) => place !== site.path);
      if (others.length > 0)
        throw new NotMergeable(
          `${layer.name} cannot be merged at ${site.path}: its weight ${site.weight} also serves ${others.join(", ")}, which would change too. Leave ${site.path} out of the target, or keep the adapter attached.`,
        );
      changed.set(site.weight, site);
      if (site.bias) changed.set(`${site.path}.bias`, site);
    }
  return changed;
}

/** Places of the bare model that read each parameter. */
type Uses = ReadonlyMap<string, ReadonlySet<string>>;

function usesOf<Batch>(model: Model<Batch>): Uses {
  const uses = new Map<string, Set<string>>();
  for (const node of walk(model).trace.nodes)
    for (const { node: source } of node.inputs) {
      const { kind, name } = source.op === leaf ? (source.attrs as LeafAttrs) : { kind: null, name: "" }; // a leaf's attrs
      if (kind === "param") uses.set(name, (uses.get(name) ?? new Set()).add(node.label));
    }
  return uses;
}

/** A changed parameter, traced. */
function folded<Batch>(
  trace: Trace,
  model: Model<Batch>,
  base: Base,
  layers: readonly Layer[],
  name: string,
  site: Site,
): Tensor {
  const options = { train: false, model: model.info, dtypeOf: (param: string) => storedType(base, param) };
  if (site.kind === "param") return inF32(openScope(trace, layers, options).param(name, site.shape, site.roles));
  // From here on the site is a linear or a table, and its onion carries weights from inside out: each wrap gives way to its merge.
  let weights: LinearWeights | undefined;
  const merging =
    <K extends "linear" | "embedding">(change: (inner: LinearWeights, here: Here<K>) => LinearWeights): Wrap<K> =>
    (x, next, here) => {
      const y = next(x);
      const bias = here.bias();
      weights = change(weights ?? { weight: inF32(here.weight()), bias: bias && inF32(bias) }, here);
      return y;
    };
  const folding = layers.map((layer): Layer => {
    const { linear, embedding } = layer.adaptation;
    const [ofLinear, ofTable] = [linear?.merge, embedding?.merge];
    return {
      ...layer,
      adaptation: {
        ...layer.adaptation,
        ...(linear && ofLinear && { linear: { ...linear, wrap: merging<"linear">(ofLinear) } }),
        ...(embedding &&
          ofTable && {
            embedding: {
              ...embedding,
              wrap: merging<"embedding">(({ weight }, here) => ({ weight: ofTable(weight, here), bias: null })),
            },
          }),
      },
    };
  });
  openScope(trace, folding, options)
    .at(site.path)
    .call(site.kind === "embedding" ? "embedding" : "linear", site, fill(trace, [1, site.in], 0), (x) => x);
  const value = name === site.weight ? weights?.weight : weights?.bias;
  if (value === undefined || value === null)
    throw new NotMergeable(`${namesOf(layers)} leave ${name} out; the model needs it.`);
  return value;
}
