/** @file torch on the CPU, in a process of its own, where a Python with torch is at hand. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Contender } from "../measure.ts";

/**
 * One training step of what the script beside this file makes of `size`; null where the Python (`GRAFT_PYTHON`, else python3)
 * lacks what it needs.
 */
export async function torchStep(script: string, size: object): Promise<(Contender & { stop(): void }) | null> {
  const python = process.env["GRAFT_PYTHON"] ?? "python3";
  const child = spawn(python, [fileURLToPath(new URL(script, import.meta.url))], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const lines = createInterface({ input: child.stdout });
  const answer = async (): Promise<boolean> =>
    Promise.race([
      once(lines, "line").then(() => true),
      once(child, "exit").then(() => false),
      once(child, "error").then(() => false),
    ]);
  child.stdin.on("error", () => undefined); // a Python that is not there; `answer` tells
  child.stdin.write(`${JSON.stringify(size)}\n`);
  if (!(await answer())) return null;
  return {
    name: "torch CPU",
    run: async () => {
      child.stdin.write("step\n");
      if (!(await answer())) throw new Error("torch's process ended in the middle of a step.");
    },
    stop: () => void child.kill(),
  };
}
