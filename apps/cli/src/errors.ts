/** @file Errors of the command line, and how any error ends a command: what it prints and the exit status. */
import { GraftError } from "@graftml/tensor";

/** Exit statuses that scripts may rely on. */
const EXIT = { done: 0, failed: 1, refused: 2, interrupted: 130 } as const;

/** Bad usage, configuration or input, found before any work. Its message may have one line for each problem. */
export class UsageError extends GraftError {}

/** This machine cannot run it: no adapter. Nothing that the user typed is wrong. */
export class NoDevice extends GraftError {}

/** The run was stopped by Ctrl-C, after saving; the message says how to go on. */
export class Interrupted extends GraftError {}

/** The device failed in the middle of a run; the message says how to go on. */
export class RunFailed extends GraftError {}

/** The Hub refuses, or does not answer as it should. */
export class HubError extends GraftError {
  /** HTTP status of its answer, if there was one. */
  readonly status: number | undefined;

  constructor(message: string, { status, ...options }: ErrorOptions & { readonly status?: number } = {}) {
    super(message, options);
    this.status = status;
  }
}

/** The Hub cannot be reached; what is in the cache still can. */
export class HubUnreachable extends HubError {}

/** Most problems that are printed at once. */
const SHOWN = 12;

/** @throws {UsageError} listing the problems, if there are any. */
export function refuseProblems(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const rest = problems.length - SHOWN;
  throw new UsageError([...problems.slice(0, SHOWN), ...(rest > 0 ? [`… and ${rest} more.`] : [])].join("\n"));
}

/** @param begun whether work had begun: what a user gave is then no longer refused, but fails. */
export function exitCodeOf(error: unknown, begun: boolean): number {
  if (Interrupted.is(error)) return EXIT.interrupted;
  if (UsageError.is(error)) return EXIT.refused;
  return GraftError.is(error) && !NoDevice.is(error) && !begun ? EXIT.refused : EXIT.failed;
}

/** An error in words: its message if it is ours, with the stack if asked for, or a hint of how to get it. */
export function describeError(error: unknown, { debug }: { readonly debug: boolean }): string {
  if (debug && error instanceof Error) return `${error.stack ?? error.message}${causes(error)}`;
  if (GraftError.is(error)) return error.message;
  const message = error instanceof Error ? error.message : String(error);
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === "ENOSPC") return `the disk is full: ${message}`;
  if (code !== undefined && /^E[A-Z]+$/.test(code)) return message;
  return `unexpected: ${message}\nThis is a fault in Graft. Run the command again with --debug and report what it prints.`;
}

function causes(error: Error): string {
  const { cause } = error;
  return cause instanceof Error ? `\ncaused by: ${cause.stack ?? cause.message}${causes(cause)}` : "";
}
