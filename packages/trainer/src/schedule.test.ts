import { expect, it } from "vitest";
import { type Schedule, schedules } from "./schedule.ts";

// get_scheduler(…, num_warmup_steps=w, num_training_steps=10) of transformers 5.23: the rate used by steps 1 to 11.
const golden: Readonly<Record<string, readonly number[]>> = {
  "constant 0": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
  "constant 3": [0, 0.3333333333333333, 0.6666666666666666, 1, 1, 1, 1, 1, 1, 1, 1],
  "linear 0": [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0],
  "linear 3": [
    0, 0.3333333333333333, 0.6666666666666666, 1, 0.8571428571428571, 0.7142857142857143, 0.5714285714285714,
    0.42857142857142855, 0.2857142857142857, 0.14285714285714285, 0,
  ],
  "cosine 0": [
    1, 0.9755282581475768, 0.9045084971874737, 0.7938926261462366, 0.6545084971874737, 0.5, 0.34549150281252633,
    0.2061073738537635, 0.09549150281252633, 0.024471741852423234, 0,
  ],
  "cosine 3": [
    0, 0.3333333333333333, 0.6666666666666666, 1, 0.9504844339512095, 0.8117449009293668, 0.6112604669781572,
    0.38873953302184283, 0.18825509907063326, 0.04951556604879048, 0,
  ],
};

it.each(Object.entries(golden))("%s warmup steps: gives the rates of transformers", (key, wanted) => {
  const [name = "", warmup] = key.split(" ");
  const schedule: Schedule = schedules[name]!({ steps: 10, warmup: Number(warmup) });
  wanted.forEach((factor, done) => expect(schedule.factor(done)).toBeCloseTo(factor, 14));
  expect(schedule.name).toBe(name);
});
