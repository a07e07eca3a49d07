/** @file How downloads look. */
import { type Io, paint, processIo } from "../io.ts";
import { bytes, duration } from "../render.ts";

/** A download that is about to begin. */
export interface Download {
  /** What is fetched: "org/name". */
  readonly title: string;
  /** In bytes, what is there already included. */
  readonly total: number;
  readonly files: number;
}

/** A download that is shown as it goes. */
export interface Shown {
  /** Bytes that were there before. */
  had(count: number): void;
  /** Bytes that have arrived; fewer than none where some must be fetched again. */
  add(count: number): void;
  end(): void;
}

/** Who is told of downloads. */
export interface Report {
  begin(download: Download): Shown;
  /** Says something, once. */
  note(text: string): void;
}

/** Milliseconds between two redraws, and those after which a download is worth a word where nothing can be redrawn. */
const [REDRAW, LONG] = [100, 2000] as const;

/** Downloads on stderr: one line that is rewritten on a terminal, and one line at the end of what took a while elsewhere. */
export function showDownloads(io: Pick<Io, "live" | "width" | "err"> = processIo({ json: false })): Report {
  const begin: Report["begin"] = ({ title, total, files }) => {
    const began = performance.now();
    let [before, done, drawn, shown] = [0, 0, began, false];
    const clear = (): void => {
      if (shown) io.err("\r\u001B[2K");
    };
    return {
      had(count) {
        before += count;
      },
      add(count) {
        done += count;
        const now = performance.now();
        if (!io.live || now - drawn < REDRAW) return;
        const speed = Math.max(0, (done / (now - began)) * 1000);
        const rest = [
          `${bytes(before + done)} of ${bytes(total)}`,
          `${bytes(Math.round(speed))}/s`,
          `${duration(((total - before - done) / speed) * 1000)} left`,
        ];
        clear();
        const head = `${title}  `.slice(0, io.width - 1);
        io.err(`${head}${paint("dim", rest.join("  ").slice(0, io.width - 1 - head.length))}`);
        [drawn, shown] = [now, true];
      },
      end() {
        clear();
        const ms = performance.now() - began;
        if (done > 0 && (shown || ms > LONG)) io.err(`${title}: ${files} files, ${bytes(done)} in ${duration(ms)}\n`);
      },
    };
  };
  const said = new Set<string>();
  const note: Report["note"] = (text) => {
    if (!said.has(text)) io.err(`${text}\n`);
    said.add(text);
  };
  return { begin, note };
}
