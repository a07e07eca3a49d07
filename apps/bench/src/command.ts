/** @file The command line as a process, watched from outside. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../cli/src/main.ts", import.meta.url));
/** Milliseconds between two looks at a process. */
const OFTEN = 100;

/** What a command took. */
export interface Taken {
  readonly seconds: number;
  /** Most memory that it held, in GiB; null where the system does not tell. */
  readonly peak: number | null;
}

/**
 * Runs `graft` in a folder, to its end.
 * @throws {Error} if it fails; what it has to say of that is printed.
 */
export async function graft(folder: string, args: readonly string[]): Promise<Taken> {
  const from = performance.now();
  const command = ["--conditions=@graftml/source", MAIN, ...args];
  const child = spawn(process.execPath, command, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  let most = 0;
  const timer = setInterval(() => {
    void readFile(`/proc/${child.pid}/status`, "utf8").then(
      (status) => (most = Math.max(most, Number(/^VmHWM:\s*(\d+) kB/m.exec(status)?.[1] ?? 0))),
      () => undefined, // it has just ended, or this is no Linux
    );
  }, OFTEN);
  const [code] = (await once(child, "exit")) as [number | null]; // the event's first argument
  clearInterval(timer);
  if (code !== 0) throw new Error(`graft ${args.join(" ")} ended with ${code}.`);
  return { seconds: (performance.now() - from) / 1000, peak: most > 0 ? most / 2 ** 20 : null };
}
