// A folder that lies in memory: what a format wrote, to be read again.

import type { FileContent, Folder } from "@graftml/peft";

const bytesOf = async (content: FileContent): Promise<Uint8Array<ArrayBuffer>> => {
  if (typeof content === "string") return new TextEncoder().encode(content);
  if (content instanceof Uint8Array) return Uint8Array.from(content);
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(Uint8Array.from(piece));
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
};

/** The folder that these files would make. */
export async function inMemory(files: Readonly<Record<string, FileContent>>): Promise<Folder> {
  const contents = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, content] of Object.entries(files)) contents.set(name, await bytesOf(content));
  return {
    path: "memory",
    names: [...contents.keys()],
    open: async (name) => {
      const bytes = contents.get(name) ?? new Uint8Array();
      return { name, size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
    },
  };
}
