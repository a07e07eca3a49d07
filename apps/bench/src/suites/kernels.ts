/** @file Suite `kernels`: matrix products, forward and both gradients, against the peers' on the same device. */
import {
  assign,
  deviceRuntime,
  fill,
  matmul,
  type MatmulLayout,
  type Program,
  requestDevice,
  type Runtime,
} from "@graftml/tensor";
import { alternate, type Contender } from "../measure.ts";
import { jaxMatmul } from "../peers/jax.ts";
import { tfjsMatmul } from "../peers/tfjs.ts";
import type { Report, Row } from "../report.ts";

const ROUNDS = 9;
/** Products per timed run, so that one takes at least some 80 ms. */
const repeats = (flops: number): number => Math.max(1, Math.ceil(3e9 / flops));

interface Case {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly layout: MatmulLayout;
}

const layouts = ["nn", "nt", "tn"] as const;
const cube = (n: number): Case[] => layouts.map((layout) => ({ M: n, N: n, K: n, layout }));
const rounded = (n: number): number => Math.ceil(n / 8) * 8;
/** Each awkward case is followed by its aligned neighbour, so that the ratio is of one run. */
const beside = (c: Case): Case[] => [c, { ...c, M: rounded(c.M), N: rounded(c.N), K: rounded(c.K) }];

const cases: readonly Case[] = [
  ...cube(512),
  ...cube(1024),
  ...layouts.flatMap((layout) => beside({ M: 1021, N: 172, K: 347, layout })),
  ...beside({ M: 1024, N: 5, K: 512, layout: "nt" }),
  ...beside({ M: 1024, N: 512, K: 5, layout: "nt" }),
];

const label = ({ M, N, K, layout }: Case): string => `${layout} ${M} × ${N} × ${K}`;

/** A program of several products of one shape; each goes into a parameter of its own, so none is left out. */
async function ours(runtime: Runtime, { M, N, K, layout }: Case, times: number): Promise<Contender> {
  const store = runtime.store();
  const random = (n: number) => () => Float32Array.from({ length: n }, () => Math.random() - 0.5);
  const a = layout === "tn" ? [K, M] : [M, K];
  const b = layout === "nt" ? [N, K] : [K, N];
  store.declare("b", { shape: b, dtype: "f32", values: random(N * K) });
  for (let i = 0; i < times; i++) store.declare(`a${i}`, { shape: a, dtype: "f32", values: random(M * K) });
  for (let i = 0; i < times; i++) store.declare(`y${i}`, { shape: [M, N], dtype: "f32", kind: "activations" });
  const program: Program = await runtime.compile(store, (trace) => {
    for (let i = 0; i < times; i++)
      assign(trace.param(`y${i}`, [M, N]), matmul(trace.param(`a${i}`, a), trace.param("b", b), layout));
    return { done: fill(trace, [1], 0) };
  });
  return {
    name: "graft",
    run: async () => {
      await program.run({});
    },
  };
}

/** GFLOP/s of every case, median and best, and how many times a peer's they are. */
export async function kernels({ peers }: { readonly peers: boolean }): Promise<Report> {
  const runtime = deviceRuntime(await requestDevice());
  const rows: Row[] = [];
  for (const c of cases) {
    const flops = 2 * c.M * c.N * c.K;
    const times = repeats(flops);
    const square = peers && c.layout === "nn" && c.M === c.N;
    const contenders = [
      await ours(runtime, c, times),
      ...(square ? [await tfjsMatmul(c.M, times), await jaxMatmul(c.M, times)] : []),
    ];
    const [graft, ...others] = await alternate(contenders, { rounds: ROUNDS });
    if (graft === undefined) continue;
    const rate = (ms: number): number => (times * flops) / ms / 1e6;
    rows.push({ name: label(c), figures: { "GFLOP/s, median": rate(graft.median), best: rate(graft.best) } });
    for (const peer of others)
      rows.push({
        name: `  ${peer.name}`,
        figures: {
          "GFLOP/s, median": rate(peer.median),
          best: rate(peer.best),
          "graft is × faster": peer.median / graft.median,
        },
      });
  }
  runtime.dispose();
  return { suite: "kernels", rows };
}
