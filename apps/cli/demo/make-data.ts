/**
 * @file Writes the demo's task: stage directions and the lines they call for. Names and lines are our own; the same
 * script gives the same files.
 *
 *     node apps/cli/demo/make-data.ts
 */
import { writeFileSync } from "node:fs";

const NAMES = ["ROMEO", "JULIET", "HAMLET", "OPHELIA", "MACBETH", "PORTIA", "ANTONY", "IAGO"];

/** What a speaker does to somebody, and what is said then. */
const LINES: Readonly<Record<string, (name: string) => string>> = {
  greets: (name) => `Good morrow, gentle ${name}! How dost thou fare?`,
  thanks: (name) => `I thank thee, ${name}, with all my heart.`,
  warns: (name) => `Beware, ${name}, for danger walks this night.`,
  mocks: (name) => `Thou art a fool, ${name}, and a merry one.`,
  loves: (name) => `O ${name}, my heart is thine for evermore.`,
  begs: (name) => `I pray thee, ${name}, have mercy on my soul.`,
  commands: (name) => `Go hence, ${name}, and bring me word with speed.`,
  praises: (name) => `Never was soul so noble as ${name}.`,
  mourns: (name) => `Alas, poor ${name} is dead, and I must weep.`,
  leaves: (name) => `Farewell, sweet ${name}, until we meet again.`,
  accuses: (name) => `Thou hast betrayed us, ${name}! Speak the truth.`,
  doubts: (name) => `I know not, ${name}, if I may trust thy word.`,
};

const TRAIN = 560;
const HELD_OUT = 100;

const scenes = NAMES.flatMap((speaker) =>
  Object.entries(LINES).flatMap(([act, line]) =>
    NAMES.filter((other) => other !== speaker).map((other) => ({
      prompt: `${speaker} ${act} ${other}\n`,
      completion: `${speaker}:\n${line(other.charAt(0) + other.slice(1).toLowerCase())}\n`,
    })),
  ),
);

// Fisher–Yates with a small linear congruential generator: the order is part of the data.
let state = 2026;
for (let i = scenes.length - 1; i > 0; i--) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  const j = Math.floor((state / 2 ** 32) * (i + 1));
  scenes.push(...scenes.splice(j, 1)); // the one drawn goes to the end, as the next of the order
}

const write = (file: string, rows: typeof scenes): void =>
  writeFileSync(new URL(file, import.meta.url), rows.map((row) => JSON.stringify(row) + "\n").join(""));
write("train.jsonl", scenes.slice(0, TRAIN));
write("held-out.jsonl", scenes.slice(TRAIN, TRAIN + HELD_OUT));
