/** @file Folders that a model may be written to. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "./errors.ts";
import { showFile } from "./io.ts";

/** Only an empty folder, or a model if told so, is written over. @throws {UsageError} for anything else. */
export function checkFree(out: string, force: boolean): void {
  if (!existsSync(out) || readdirSync(out).length === 0) return;
  const isModel = existsSync(join(out, "config.json"));
  if (force && isModel) return;
  throw new UsageError(
    isModel
      ? `${showFile(out)} holds a model already. Choose another --out, or replace it with --force.`
      : `${showFile(out)} is not empty and holds no model. Choose another --out.`,
  );
}
