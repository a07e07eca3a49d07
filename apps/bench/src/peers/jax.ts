/** @file jax-js's WebGPU backend, as a contender: matrix products and a whole training step. */
import type * as Jax from "@jax-js/jax";
import type { GptSize } from "../gpt.ts";
import type { Contender } from "../measure.ts";
import { browserGlobals } from "./node-webgpu.ts";

async function jax(): Promise<typeof Jax> {
  browserGlobals();
  const library = await import("@jax-js/jax");
  await library.init("webgpu");
  library.defaultDevice("webgpu");
  return library;
}

/** `times` products of two random n×n matrices. */
export async function jaxMatmul(n: number, times: number): Promise<Contender> {
  const { numpy: np } = await jax();
  const random = () => np.array(Float32Array.from({ length: n * n }, Math.random)).reshape([n, n]);
  const [a, b] = [random(), random()];
  return {
    name: "jax-js WebGPU",
    run: async () => {
      // The products run in order, so the last one's corner is there when all are.
      for (let i = 1; i < times; i++) (await np.matmul(a.ref, b.ref).blockUntilReady()).dispose();
      await np.matmul(a.ref, b.ref).slice(0, 0).data();
    },
  };
}

/**
 * One training step of the GPT of `size`: forward, backward, Adam, jitted, the loss read back. Embeddings and labels are
 * one-hot, because the gradient of `take` does not compile under jit in 0.1.25.
 */
export async function jaxStep({
  layers,
  width: D,
  heads: H,
  vocabulary: V,
  batch: B,
  length: T,
}: GptSize): Promise<Contender> {
  const { numpy: np, nn, jit, valueAndGrad, tree } = await jax();
  type A = ReturnType<typeof np.zeros>;
  const E = D / H;
  const drawn = (...shape: number[]): A =>
    np
      .array(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => (Math.random() - 0.5) * 0.07))
      .reshape(shape);
  const zeros = (n: number): A => np.zeros([n]);
  const block = () => ({
    g1: np.ones([D]), b1: zeros(D), q: drawn(D, D), k: drawn(D, D), v: drawn(D, D), o: drawn(D, D),
    qb: zeros(D), kb: zeros(D), vb: zeros(D), ob: zeros(D),
    g2: np.ones([D]), b2: zeros(D), up: drawn(D, 4 * D), upb: zeros(4 * D), down: drawn(4 * D, D), downb: zeros(D),
  }); // prettier-ignore
  const parameters = () => ({
    tokens: drawn(V, D), positions: drawn(T, D), g: np.ones([D]), b: zeros(D), head: drawn(D, V),
    blocks: Array.from({ length: layers }, block),
  }); // prettier-ignore
  type Parameters = ReturnType<typeof parameters>;

  const map = (f: (...leaves: A[]) => A, of: Parameters, ...rest: Parameters[]): Parameters =>
    tree.map<A, A, Parameters>(f, of, ...rest);

  const layerNorm = (x: A, g: A, b: A): A => {
    const centred = x.ref.sub(np.mean(x, -1, { keepdims: true }));
    const variance = np.mean(np.square(centred.ref), -1, { keepdims: true });
    return centred
      .mul(np.reciprocal(np.sqrt(variance.add(1e-5))))
      .mul(g)
      .add(b);
  };
  const split = (x: A): A => np.transpose(x.reshape([B, T, H, E]), [0, 2, 1, 3]);
  const loss = (p: Parameters, ids: A, labels: A, mask: A): A => {
    let h = np.matmul(ids, p.tokens).reshape([B, T, D]).add(p.positions);
    for (const w of p.blocks) {
      const x = layerNorm(h.ref, w.g1, w.b1);
      const q = split(np.matmul(x.ref, w.q).add(w.qb));
      const k = split(np.matmul(x.ref, w.k).add(w.kb));
      const v = split(np.matmul(x, w.v).add(w.vb));
      const scores = np
        .matmul(q, np.transpose(k, [0, 1, 3, 2]))
        .mul(1 / Math.sqrt(E))
        .add(mask.ref);
      const heads = np.transpose(np.matmul(nn.softmax(scores, -1), v), [0, 2, 1, 3]).reshape([B, T, D]);
      h = h.add(np.matmul(heads, w.o).add(w.ob));
      const inner = nn.gelu(np.matmul(layerNorm(h.ref, w.g2, w.b2), w.up).add(w.upb), { approximate: true });
      h = h.add(np.matmul(inner, w.down).add(w.downb));
    }
    mask.dispose();
    const logits = np.matmul(layerNorm(h, p.g, p.b).reshape([B * T, D]), p.head);
    return np.mean(np.sum(nn.logSoftmax(logits, -1).mul(labels), -1)).mul(-1);
  };
  const step = jit((p: Parameters, m: Parameters, v: Parameters, c1: A, c2: A, ids: A, labels: A, mask: A) => {
    const [value, gradient] = valueAndGrad(loss)(tree.ref(p), ids, labels, mask);
    const average = (beta: number) => (x?: A, g?: A) => (x as A).mul(beta).add((g as A).mul(1 - beta)); // map gives both
    const m1 = map(average(0.9), m, tree.ref(gradient));
    const v1 = map(
      average(0.999),
      v,
      map((g) => np.square(g), gradient),
    );
    const update = (...[x, a, b]: A[]): A =>
      (x as A).sub(
        (a as A)
          .mul(c1.ref)
          .div(np.sqrt((b as A).mul(c2.ref)).add(1e-8))
          .mul(1e-3),
      );
    const p1 = map(update, p, tree.ref(m1), tree.ref(v1));
    c1.dispose();
    c2.dispose();
    return [value, p1, m1, v1] as const;
  });

  const ids = Int32Array.from({ length: B * T + 1 }, () => Math.floor(Math.random() * V));
  const oneHot = (of: Int32Array): A => {
    const rows = new Float32Array(of.length * V);
    of.forEach((id, i) => (rows[i * V + id] = 1));
    return np.array(rows).reshape([of.length, V]);
  };
  const [given, wanted] = [oneHot(ids.slice(0, -1)), oneHot(ids.slice(1))];
  const hidden = Float32Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? -1e9 : 0));
  const mask = np.array(hidden).reshape([T, T]);
  const like = (p: Parameters): Parameters => map((x) => np.zeros(x.shape), tree.ref(p));
  let p = parameters();
  let [m, v] = [like(p), like(p)];
  let t = 0;
  return {
    name: "jax-js WebGPU",
    run: async () => {
      t++;
      const correction = (beta: number): A => np.array(1 / (1 - beta ** t));
      const [value, ...state] = step(
        p,
        m,
        v,
        correction(0.9),
        correction(0.999),
        given.ref,
        wanted.ref,
        mask.ref,
      ) as readonly [A, Parameters, Parameters, Parameters];
      [p, m, v] = state;
      await value.data();
    },
  };
}
