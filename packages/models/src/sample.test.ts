import { describe, expect, it } from "vitest";
import { draw, likeliest, type Sampling } from "./sample.ts";

const logits = Float32Array.of(1, 3, 2, -Infinity, 3);

/** How often each token is drawn. */
function shares(sampling: Omit<Sampling, "seed">, draws = 4000): number[] {
  const counts = Array.from(logits, () => 0);
  for (let step = 0; step < draws; step++)
    counts[draw(logits, { ...sampling, seed: 7 }, { row: 0, step })]! += 1 / draws;
  return counts;
}

const near = (got: readonly number[], want: readonly number[]): void =>
  want.forEach((p, i) => expect(Math.abs(got[i]! - p), `token ${i}`).toBeLessThan(p === 0 ? 1e-9 : 0.03));

const softmax = (temperature: number, kept: readonly number[]): number[] => {
  const mass = Array.from(logits, (x, i) => (kept.includes(i) ? Math.exp(x / temperature) : 0));
  const total = mass.reduce((a, b) => a + b, 0);
  return mass.map((m) => m / total);
};

describe("likeliest", () => {
  it("is the first of several that are equally likely", () => {
    expect(likeliest(logits)).toBe(1);
  });
});

describe("draw", () => {
  it("draws with the probabilities of the softmax", () => near(shares({}), softmax(1, [0, 1, 2, 4])));

  it("flattens or sharpens by temperature", () => {
    near(shares({ temperature: 2 }), softmax(2, [0, 1, 2, 4]));
    near(shares({ temperature: 0.25 }), softmax(0.25, [0, 1, 2, 4]));
  });

  it("keeps the k likeliest", () => {
    near(shares({ topK: 3 }), softmax(1, [1, 2, 4]));
    expect(shares({ topK: 1 })[1]).toBeCloseTo(1);
  });

  it("keeps the likeliest up to the probability p, the one that crosses it included", () => {
    // Masses: tokens 1 and 4 have 0.40 each, token 2 has 0.15, token 0 has 0.05.
    near(shares({ topP: 0.39 }), softmax(1, [1]));
    near(shares({ topP: 0.5 }), softmax(1, [1, 4]));
    near(shares({ topP: 0.9 }), softmax(1, [1, 2, 4]));
  });

  it("draws rows of a batch independently", () => {
    const rows = [0, 1].map((row) => Array.from({ length: 50 }, (_, step) => draw(logits, { seed: 1 }, { row, step })));
    expect(rows[0]).not.toEqual(rows[1]);
  });
});
