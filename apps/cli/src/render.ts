/** @file How numbers, memory and progress look. */
import { deviceBytes, type MemoryPlan, OFFLOADED } from "@graftml/tensor";
import type { Evaluation } from "@graftml/trainer";
import { type Io, paint, seenLength } from "./io.ts";

/** "1,234,567" */
export const thousands = (n: number): string => n.toLocaleString("en-US");

/** "12.3 MB", in decimal units. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(n, 1)) / 3)));
  return power === 0 ? `${n} B` : `${(n / 1000 ** power).toFixed(1)} ${units[power]}`;
}

/** "0.52 %" with three digits. */
export const percent = (share: number): string => `${(share * 100).toPrecision(3)} %`;

/** ["loss 0.3012", "accuracy 0.8600", "bits per character 1.320"] */
export const figures = (of: Evaluation): readonly string[] =>
  Object.entries(of).map(([name, value]) => `${name.replaceAll("_", " ")} ${value.toPrecision(4)}`);

/** "1:05" or "2:01:05" */
export function duration(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1000));
  const two = (n: number): string => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** "12.3 MB: activations 8.1 MB, weights 3.7 MB, …; on the host 5.0 MB" */
export function memory(plan: MemoryPlan): string {
  const { [OFFLOADED]: offloaded = 0 } = plan;
  const kinds = Object.entries(plan)
    .filter(([kind, n]) => n > 0 && kind !== OFFLOADED)
    .sort(([, a], [, b]) => b - a)
    .map(([kind, n]) => `${kind} ${bytes(n)}`);
  const host = offloaded > 0 ? `; on the host ${bytes(offloaded)}` : "";
  return `${bytes(deviceBytes(plan))}${kinds.length > 0 ? `: ${kinds.join(", ")}` : ""}${host}`;
}

const BARS = "▁▂▃▄▅▆▇█";

/** Values as a row of bars, as many as `width`; each bar is the mean of its stretch. */
export function sparkline(values: readonly number[], width: number): string {
  const n = Math.min(width, values.length);
  const means = Array.from({ length: n }, (_, i) => {
    const part = values.slice(Math.floor((i * values.length) / n), Math.floor(((i + 1) * values.length) / n));
    return part.reduce((a, b) => a + b, 0) / part.length;
  });
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const level = (x: number): number => (high > low ? Math.round(((x - low) / (high - low)) * (BARS.length - 1)) : 0);
  return means.map((x) => BARS.charAt(level(x))).join("");
}

/** What the progress of a run shows. */
export interface Tick {
  readonly step: number;
  readonly loss: number;
  readonly tokens: number;
  readonly ms: number;
}

/** Shows a run as it goes: one line that is rewritten on a terminal, about twelve lines elsewhere. */
export interface Progress {
  step(tick: Tick): void;
  /** Says something beside it. */
  note(text: string): void;
  /** Takes the line away, or leaves it as it is. */
  end(): void;
}

/** Milliseconds between two redraws. */
const REDRAW = 80;
/** Lines of a run where nothing can be rewritten. */
const LINES = 12;
/** Steps that speed is a mean over. */
const RECENT = 50;

/** Progress on stderr. @param now milliseconds, for tests. */
export function progress(
  io: Io,
  steps: number,
  { now = () => performance.now() }: { readonly now?: () => number } = {},
): Progress {
  const losses: number[] = [];
  const recent: Tick[] = [];
  let drawn = -Infinity;
  let shown = false;
  let last = false;
  const line = ({ step, loss }: Tick): string => {
    const ms = recent.reduce((sum, t) => sum + t.ms, 0);
    const speed = (recent.reduce((sum, t) => sum + t.tokens, 0) / Math.max(ms, 1e-9)) * 1000;
    const left = `${duration((ms / recent.length) * (steps - step))} left`;
    const parts = [`step ${String(step).padStart(String(steps).length)}/${steps}`, `loss ${loss.toFixed(4)}`];
    const tail = [`${thousands(Math.round(speed))} tokens/s`, step === steps ? "done" : left];
    if (!io.live) return [...parts, ...tail].join("  ");
    const room = io.width - 1 - seenLength([...parts, ...tail].join("  ")) - 2;
    const bars = room >= 8 ? [paint("cyan", sparkline(losses, Math.min(room, 48)).padEnd(Math.min(room, 48)))] : [];
    return [paint("bold", parts[0] ?? ""), parts[1] ?? "", ...bars, ...tail.map((t) => paint("dim", t))].join("  ");
  };
  const clear = (): void => {
    if (shown) io.err("\r\u001B[2K");
    shown = false;
  };
  return {
    step(tick) {
      losses.push(tick.loss);
      recent.push(tick);
      if (recent.length > RECENT) recent.shift();
      last = tick.step === steps;
      if (io.live) {
        if (!last && now() - drawn < REDRAW) return;
        io.err(`\r\u001B[2K${line(tick)}`);
        shown = true;
        drawn = now();
      } else if (last || losses.length === 1 || tick.step % Math.max(1, Math.round(steps / LINES)) === 0)
        io.err(`${line(tick)}\n`);
    },
    note(text) {
      // The line of the last step stays.
      if (last) this.end();
      else clear();
      io.err(`${text}\n`);
    },
    end() {
      if (shown) io.err("\n");
      shown = false;
    },
  };
}
