/** @file torch on the CPU, in a process of its own, where a Python with torch is at hand. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Contender } from "../measure.ts";

/** A script beside this file that has been given its first line; what it prints comes line by line, null when it ends. */
interface Script {
  /** The next line that it prints. */
  line(): Promise<string | null>;
  send(line: string): void;
  stop(): void;
}

/** Starts a script in the Python of `GRAFT_PYTHON`, else python3. */
function start(script: string, first: object): Script {
  const python = process.env["GRAFT_PYTHON"] ?? "python3";
  const child = spawn(python, [fileURLToPath(new URL(script, import.meta.url))], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const lines = createInterface({ input: child.stdout });
  child.stdin.on("error", () => undefined); // a Python that is not there; `line` tells
  const send = (line: string): void => void child.stdin.write(`${line}\n`);
  send(JSON.stringify(first));
  return {
    line: async () =>
      Promise.race([
        once(lines, "line").then(([line]) => String(line)),
        once(child, "close").then(() => null),
        once(child, "error").then(() => null),
      ]),
    send,
    stop: () => void child.kill(),
  };
}

/** What a script answers to a question, both JSON; null where the Python (`GRAFT_PYTHON`, else python3) lacks what it needs. */
export async function askTorch(script: string, question: object): Promise<unknown> {
  const torch = start(script, question);
  const answer = await torch.line();
  torch.stop();
  return answer === null ? null : JSON.parse(answer);
}

/**
 * One training step of what the script beside this file makes of `size`; null where the Python (`GRAFT_PYTHON`, else python3)
 * lacks what it needs.
 */
export async function torchStep(script: string, size: object): Promise<(Contender & { stop(): void }) | null> {
  const torch = start(script, size);
  if ((await torch.line()) === null) return null;
  return {
    name: "torch CPU",
    run: async () => {
      torch.send("step");
      if ((await torch.line()) === null) throw new Error("torch's process ended in the middle of a step.");
    },
    stop: torch.stop,
  };
}
