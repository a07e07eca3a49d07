import { describe, expect, it } from "vitest";
import { Turns } from "../src/runtime/turns.ts";

/** A turn that lasts until it is ended. */
function long(log: string[], name: string) {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const turn = (): Promise<void> => {
    log.push(`${name} begins`);
    return promise.finally(() => log.push(`${name} ends`));
  };
  return { turn, end: resolve, fail: reject };
}

describe("turns", () => {
  it("are over when they return where nothing else is under way", () => {
    const turns = new Turns();
    const log: string[] = [];
    expect(turns.take(() => void log.push("a"))).toBeUndefined();
    expect(turns.take(() => void log.push("b"))).toBeUndefined();
    expect(log).toEqual(["a", "b"]);
    expect(turns.free).toBe(true);
  });

  it("follow each other in the order they were asked for, short ones too", async () => {
    const turns = new Turns();
    const log: string[] = [];
    const [first, second] = [long(log, "first"), long(log, "second")];
    const all = [
      turns.take(first.turn),
      turns.take(() => void log.push("short")),
      turns.take(second.turn),
      turns.take(() => void log.push("last")),
    ];
    expect(log).toEqual(["first begins"]);
    expect(turns.free).toBe(false);
    second.end();
    first.end();
    await Promise.all(all.map((over) => Promise.resolve(over)));
    expect(log).toEqual(["first begins", "first ends", "short", "second begins", "second ends", "last"]);
    expect(turns.free).toBe(true);
  });

  it("go on after one that failed, which tells why", async () => {
    const turns = new Turns();
    const log: string[] = [];
    const first = long(log, "first");
    const failing = turns.take(first.turn);
    const short = turns.take(() => {
      throw new Error("at once");
    });
    const last = turns.take(() => void log.push("last"));
    first.fail(new Error("lost"));
    await expect(failing).rejects.toThrow("lost");
    await expect(short).rejects.toThrow("at once");
    await last;
    expect(log.at(-1)).toBe("last");
  });
});
