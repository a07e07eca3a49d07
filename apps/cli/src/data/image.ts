/** @file Images: PNG, JPEG and WebP to pixels, from files, folders of them, or bytes in a column. */
import { readdir, readFile } from "node:fs/promises";
import { dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Picture } from "@graftml/models";
import { UsageError } from "../errors.ts";
import { showFile } from "../io.ts";
import type { Reader } from "./row.ts";
import { unreadable } from "./source.ts";

/** Ends of names of images. */
export const imageTypes: readonly string[] = [".png", ".jpg", ".jpeg", ".webp"];

/** Most pixels of an image: a header that promises more is not believed. */
const MOST_PIXELS = 2 ** 26;

/** A folder with a folder of images for each label, in the order of their names. */
export const readImageFolder: Reader = async function* ({ path, shown }) {
  const folders = (await readdir(path, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map((entry) => entry.name)
    .sort();
  for (const label of folders) {
    const names = (await readdir(join(path, label))).filter((name) => imageTypes.includes(extname(name).toLowerCase()));
    for (const name of names.sort()) {
      const image = join(path, label, name);
      yield { values: { image, label }, origin: showFile(image) };
    }
  }
  if (folders.length === 0)
    throw new UsageError(`${shown} has no folders in it: a folder of images has one for each label, named after it.`);
};

/**
 * The image that a cell holds: the path of a file (relative to the data file), bytes, or Hugging Face's { bytes, path }.
 * @throws {UsageError} if it is none.
 */
export async function imageIn(value: unknown, dataFile: string, where: string): Promise<Picture> {
  const { bytes, path } =
    typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {}; // checked below
  if (value instanceof Uint8Array) return decodeImage(value, where);
  if (bytes instanceof Uint8Array) return decodeImage(bytes, where);
  const file = typeof value === "string" ? value : path;
  if (typeof file !== "string") throw new UsageError(`${where} holds neither the path of an image nor its bytes.`);
  const at = resolve(dirname(dataFile), file);
  const read = await readFile(at).catch((cause: unknown) => {
    throw unreadable({ path: at, shown: showFile(at), headless: false }, cause);
  });
  return decodeImage(read, showFile(at));
}

/** Decodes an image; transparent pixels lie on white. @throws {UsageError} naming `where` if it is none or damaged. */
export async function decodeImage(bytes: Uint8Array, where: string): Promise<Picture> {
  const decode = decoders.find(({ begins }) => begins.every((byte, i) => bytes[i] === byte))?.decode;
  if (decode === undefined) throw new UsageError(`${where} is no image that can be read: PNG, JPEG and WebP can.`);
  try {
    return onWhite(await decode(bytes));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.replace(/\.$/, "") : String(cause);
    throw new UsageError(`${where} is a damaged image: ${reason}.`, { cause });
  }
}

/** A decoded image as libraries give it: [height, width, 4], with opacity. */
interface Transparent {
  readonly width: number;
  readonly height: number;
  readonly data: ArrayLike<number>;
}

/** Formats by the bytes that their files begin with. */
const decoders: readonly {
  readonly begins: readonly number[];
  readonly decode: (bytes: Uint8Array) => Promise<Transparent>;
}[] = [
  {
    begins: [0x89, 0x50, 0x4e, 0x47],
    decode: async (bytes) => {
      // Width and height are the 4 bytes from 16 and from 20 on.
      const view = viewOf(bytes);
      refuseHuge(view.getUint32(16), view.getUint32(20));
      return (await import("pngjs")).PNG.sync.read(Buffer.from(bytes));
    },
  },
  {
    begins: [0xff, 0xd8],
    decode: async (bytes) => {
      const { decode } = (await import("jpeg-js")).default;
      return decode(bytes, { useTArray: true, maxResolutionInMP: MOST_PIXELS / 1e6, maxMemoryUsageInMB: 1024 });
    },
  },
  {
    begins: [0x52, 0x49, 0x46, 0x46],
    decode: async (bytes) => {
      refuseHuge(...sizeOfWebp(viewOf(bytes)));
      return (await webp())(Uint8Array.from(bytes).buffer);
    },
  },
];

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Looks at what a header promises before anything is allocated. */
function refuseHuge(width: number, height: number): void {
  if (width * height > MOST_PIXELS) throw new Error(`it claims more than ${MOST_PIXELS} pixels`);
}

/** Width and height of a WebP, by the kind of its first chunk. @see RFC 9649 §2.5–2.7 */
function sizeOfWebp(view: DataView): readonly [width: number, height: number] {
  const kind = view.getUint8(15);
  const extended = "X".charCodeAt(0);
  const lossless = "L".charCodeAt(0);
  if (kind === extended) return [(view.getUint32(24, true) & 0xffffff) + 1, (view.getUint32(26, true) >>> 8) + 1];
  if (kind !== lossless) return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
  const bits = view.getUint32(21, true);
  return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
}

/** The decoder, compiled once. It would look for its code where a browser has it. */
let decoder: Promise<(bytes: ArrayBuffer) => Promise<Transparent>> | undefined;
const webp = (): typeof decoder & {} =>
  (decoder ??= (async () => {
    const { default: decode, init } = await import("@jsquash/webp/decode.js");
    const code = fileURLToPath(import.meta.resolve("@jsquash/webp/codec/dec/webp_dec.wasm"));
    await init(await WebAssembly.compile(await readFile(code)));
    return decode;
  })());

function onWhite({ width, height, data }: Transparent): Picture {
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const opacity = (data[4 * i + 3] ?? 0) / 255;
    for (let c = 0; c < 3; c++) pixels[3 * i + c] = Math.round((data[4 * i + c] ?? 0) * opacity + 255 * (1 - opacity));
  }
  return { width, height, pixels };
}
