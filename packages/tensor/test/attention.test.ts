/** @file What attention means: texts that share a row, and dropout of its weights. */
import { describe, expect, it } from "vitest";
import { attention, checkpoint, grad, keyOf, type Literal, run, slice, sum, square, uniformAt } from "../src/index.ts";
import { noise } from "./noise.ts";

const literal = (shape: readonly number[], seed: number): Literal => ({ shape, values: noise(shape, seed) });

describe("attention over packed rows", () => {
  const [H, G, E] = [4, 2, 3];
  /** Rows with these numbers of texts; the first `past` keys have no queries. */
  const packed = (texts: readonly number[], past: number): Readonly<Record<string, Literal>> => {
    const [T, S] = [texts.length - past, texts.length];
    return {
      q: literal([1, T, H, E], 1),
      k: literal([1, S, G, E], 2),
      v: literal([1, S, G, E], 3),
      mask: { shape: [1, S], values: texts },
    };
  };

  it("gives every text what it gets alone", async () => {
    const { y, first, second } = await run(
      ({ q, k, v, mask }) => {
        const alone = (from: number, count: number): Parameters<typeof attention> => [
          slice(q!, 1, from, count),
          slice(k!, 1, from, count),
          slice(v!, 1, from, count),
          null,
          { causal: true, scale: 0.5 },
        ];
        return {
          y: attention(q!, k!, v!, mask!, { causal: true, scale: 0.5, packed: true }),
          first: attention(...alone(0, 3)),
          second: attention(...alone(3, 4)),
        };
      },
      packed([1, 1, 1, 2, 2, 2, 2, 0], 0),
    );
    expect([...first!, ...second!]).toEqual([...y!].slice(0, 7 * H * E));
    expect([...y!].slice(7 * H * E).every((x) => x === 0)).toBe(true); // padding sees nothing
  });

  it("shows keys of number −1 to every text", async () => {
    const { y, first } = await run(
      ({ q, k, v, mask }) => {
        const head = (name: typeof k): typeof k => slice(name!, 1, 0, 2 + 3); // two keys for all, and the first text
        return {
          y: attention(q!, k!, v!, mask!, { causal: true, scale: 0.5, packed: true }),
          first: attention(slice(q!, 1, 0, 3), head(k)!, head(v)!, null, { causal: true, scale: 0.5 }),
        };
      },
      packed([-1, -1, 1, 1, 1, 2, 2], 2),
    );
    expect([...first!]).toEqual([...y!].slice(0, 3 * H * E));
  });
});

describe("dropout of attention's weights", () => {
  const [B, H, T, S, p] = [2, 3, 5, 7, 0.3];
  /** Weights themselves: every score is 0, and the values are the rows of the identity. */
  const weights = async (p: number, seed: number, step: number): Promise<number[]> => {
    const identity = Array.from({ length: B * S * S }, (_, i) => (Math.floor(i / S) % S === i % S ? 1 : 0));
    const { y } = await run(
      ({ q, k, v, clock }) => ({
        y: attention(q, k, v, null, { causal: false, scale: 1, dropout: { p, clock, name: "here" } }),
      }),
      {
        q: { shape: [B, T, H, S], values: new Float32Array(B * T * H * S) },
        k: literal([B, S, 1, S], 1),
        v: { shape: [B, S, 1, S], values: identity },
        clock: { shape: [2], values: [seed, step], dtype: "u32" },
      },
    );
    return [...y!];
  };

  it("drops where the noise of that name is below p, and divides the rest by 1 − p", async () => {
    const got = await weights(p, 11, 4);
    for (let b = 0; b < B; b++)
      for (let t = 0; t < T; t++)
        for (let h = 0; h < H; h++)
          for (let s = 0; s < S; s++) {
            const isDropped = uniformAt(11, 4, keyOf("here"), ((b * H + h) * T + t) * S + s) < p;
            expect(got[((b * T + t) * H + h) * S + s]).toBeCloseTo(isDropped ? 0 : 1 / S / (1 - p), 12);
          }
  });

  it("has no dropout as its mean, and drops the share p", async () => {
    const steps = Array.from({ length: 200 }, (_, step) => step);
    const all = (await Promise.all(steps.map((step) => weights(p, 7, step)))).flat();
    // Of 42,000 draws: six standard deviations are 0.013 in the share, and as much again over 1 − p in the mean.
    expect(Math.abs(all.filter((w) => w === 0).length / all.length - p)).toBeLessThan(0.013);
    expect(Math.abs((all.reduce((a, w) => a + w) / all.length) * S - 1)).toBeLessThan(0.02);
  });

  it("does nothing for p = 0", async () => {
    expect(new Set(await weights(0, 7, 1))).toEqual(new Set([1 / S]));
  });

  it("is the same noise where a checkpointed region is computed again", async () => {
    const inputs = { x: literal([1, 6, 2, 4], 5), clock: { shape: [2], values: [3, 1], dtype: "u32" } as const };
    const [kept, again] = await Promise.all(
      [false, true].map((isCheckpointed) =>
        run(({ x, clock }) => {
          const dropout = { p: 0.5, clock, name: "here" };
          const body = (h: typeof x): typeof x =>
            square(attention(h, h, h, null, { causal: true, scale: 0.7, dropout }));
          const loss = sum(square(isCheckpointed ? checkpoint(x, body) : body(x)));
          return { loss, d: grad(loss, [x])[0]! };
        }, inputs),
      ),
    );
    expect(again).toEqual(kept);
  });
});
