/** @file Rows as JSON: one object a line, or one list of objects. */
import { UsageError } from "../errors.ts";
import type { DataFile, Entry } from "./row.ts";
import { linesOf, LONGEST, textOf } from "./source.ts";

/** One JSON object a line; empty lines are passed over. */
export async function* readJsonLines(file: DataFile): AsyncGenerator<Entry> {
  for await (const { text, number } of linesOf(file)) {
    if (text.trim() === "") continue;
    const origin = `${file.shown}:${number}`;
    yield { values: asObject(parsed(text, origin), origin), origin };
  }
}

function parsed(text: string, origin: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${origin}: not JSON: ${reason(cause)}.`, { cause });
  }
}

/** A list of objects, of which one at a time is held. */
export async function* readJsonList(file: DataFile): AsyncGenerator<Entry> {
  const { JSONParser } = await import("@streamparser/json");
  const parser = new JSONParser({ paths: ["$.*"], keepStack: false });
  const ready: unknown[] = [];
  let [line, count, begun, pending] = [1, 0, false, 0];
  parser.onValue = ({ value }) => void ready.push(value);
  for await (const piece of textOf(file)) {
    if (!begun && piece.trim() !== "") {
      begun = true;
      if (!piece.trimStart().startsWith("["))
        throw new UsageError(`${file.shown}: a JSON data file is a list of objects, one a row.`);
    }
    for (const [i, part] of piece.split(/(?<=\n)/).entries()) {
      if (i > 0) line++;
      try {
        parser.write(part);
      } catch (cause) {
        throw new UsageError(`${file.shown}:${line}: not JSON: ${reason(cause)}.`, { cause });
      }
    }
    if (piece.endsWith("\n")) line++;
    pending = ready.length > 0 ? 0 : pending + piece.length;
    if (pending > LONGEST)
      throw new UsageError(`${file.shown}[${count}]: the row is longer than ${LONGEST / 2 ** 20} million characters.`);
    for (const value of ready.splice(0)) {
      const origin = `${file.shown}[${count++}]`;
      yield { values: asObject(value, origin), origin };
    }
  }
  if (begun && !parser.isEnded) throw new UsageError(`${file.shown}:${line}: not JSON: the list does not end.`);
}

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message.replace(/\.$/, "") : String(cause));

function asObject(value: unknown, origin: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>; // just checked
  throw new UsageError(`${origin}: a row is an object of columns, such as {"text": "…"}.`);
}
