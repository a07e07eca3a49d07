#!/usr/bin/env node
/** @file The command line: finds the verb, runs it, and ends with the status that CONTRACT promises. */
import { Command, CommanderError } from "commander";
import { processIo } from "./io.ts";
import { type Verb, verbs } from "./verbs.ts";
import { version } from "./versions.ts";

const argv = process.argv.slice(2);
const io = processIo({ json: argv.includes("--json") });
const debug = argv.includes("--debug");

// A reader that has had enough (`| head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

/** Help on a run file's keys; the schema is loaded only if it is asked for. */
async function keysHelp(verb: Verb | undefined): Promise<string> {
  if (verb?.keys !== "listed" || !argv.some((arg) => arg === "--help" || arg === "-h")) return "";
  const { keysHelp } = await import("./help.ts");
  return `\nKeys of a run file, each of them a flag too:\n${keysHelp()}\n`;
}

function commandOf(verb: Verb, keys: string): Command {
  const command = new Command(verb.name)
    .usage(verb.usage)
    .description(verb.summary)
    .argument("[args...]")
    .allowUnknownOption(verb.keys !== "none")
    .addHelpText("after", `${keys}\nExample:\n  ${verb.example}`);
  for (const [flags, description, fallback] of verb.options)
    if (flags.endsWith("...>"))
      command.option(
        flags.replace("...", ""),
        `${description}; repeatable`,
        (text: string, all: readonly string[] | undefined) => [...(all ?? []), text],
      );
    else command.option(flags, description, fallback);
  return command
    .option("--json", "one JSON value on stdout, all else on stderr")
    .option("--debug", "print the stack of an error")
    .configureHelp({ visibleArguments: () => [] })
    .action(async (args: readonly string[], options: Readonly<Record<string, unknown>>) => {
      const own = command.options.flatMap((option) => option.long ?? []);
      if (verb.keys !== "none") (await import("./inputs.ts")).refuseMisspelt(args, own);
      await (
        await verb.load()
      )(io, args, options);
    });
}

async function main(): Promise<number> {
  const keys = await keysHelp(verbs.find((verb) => verb.name === argv[0]));
  const program = new Command("graft")
    .description("Parameter-efficient fine-tuning on WebGPU.")
    .version(version)
    .helpCommand(false)
    .addHelpText("after", "\nExit status: 0 done, 1 failed while running, 2 refused before any work, 130 interrupted.")
    .configureOutput({ outputError: (text, write) => write(`graft: ${text.replace(/^error: /, "")}`) })
    .exitOverride();
  for (const verb of verbs) program.addCommand(commandOf(verb, keys).copyInheritedSettings(program).exitOverride());
  try {
    await program.parseAsync(argv, { from: "user" });
    return 0;
  } catch (error) {
    // Commander has printed its own messages: help, the version, or what is wrong with an option.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const { describeError, exitCodeOf } = await import("./errors.ts");
    io.err(`graft: ${describeError(error, { debug }).replaceAll("\n", "\n       ")}\n`);
    return exitCodeOf(error, io.begun);
  }
}

process.exitCode = await main();
