/** @file Learning-rate schedules. @see transformers `optimization.py`, whose formulas these are. */

/** How the learning rate changes over a run. Anything of this shape can be one. */
export interface Schedule {
  readonly name: string;
  /** What it was made with; a checkpoint is only resumed under the same. */
  readonly settings: Readonly<Record<string, number>>;
  /** Factor on the learning rate in the step that follows `done` optimizer steps: the first step uses `factor(0)`. */
  factor(done: number): number;
}

/** What the schedules of this package depend on. */
export interface ScheduleSettings {
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** Steps over which the rate rises from 0; with a warmup the very first step has rate 0, as in transformers. */
  readonly warmup?: number;
}

/** min(1, done / warmup), then 1: `get_constant_schedule_with_warmup`. */
export const constant = ({ warmup = 0 }: Partial<ScheduleSettings> = {}): Schedule =>
  warmed("constant", { warmup }, () => 1);

/** Falls from 1 to 0 on a line: `get_linear_schedule_with_warmup`. */
export const linear = ({ steps, warmup = 0 }: ScheduleSettings): Schedule =>
  warmed("linear", { steps, warmup }, (done) => Math.max(0, (steps - done) / Math.max(1, steps - warmup)));

/** Falls from 1 to 0 on half a cosine: `get_cosine_schedule_with_warmup`. */
export const cosine = ({ steps, warmup = 0 }: ScheduleSettings): Schedule =>
  warmed("cosine", { steps, warmup }, (done) =>
    Math.max(0, 0.5 * (1 + Math.cos((Math.PI * (done - warmup)) / Math.max(1, steps - warmup)))),
  );

/** The schedules of this package by the names that run files use. */
export const schedules: Readonly<Record<string, (settings: ScheduleSettings) => Schedule>> = {
  constant,
  linear,
  cosine,
};

function warmed(
  name: string,
  settings: Readonly<Record<string, number>> & { readonly warmup: number },
  after: (done: number) => number,
): Schedule {
  const { warmup } = settings;
  return { name, settings, factor: (done) => (done < warmup ? done / Math.max(1, warmup) : after(done)) };
}
