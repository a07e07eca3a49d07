import { writeFileSync } from "node:fs";
import { join } from "node:path";
import jpeg from "jpeg-js";
import { PNG } from "pngjs";
import { describe, expect, it } from "vitest";
import { emptyFolder, withFiles } from "../../test/helpers.ts";
import { UsageError } from "../errors.ts";
import { layoutsOf } from "./columns.ts";
import { decodeImage } from "./image.ts";
import { firstRows } from "./read.ts";

/** A picture of 3 × 2 pixels of one colour, with opacity. */
const filled = (...colour: readonly [number, number, number, number]): Buffer =>
  Buffer.from(Array.from({ length: 6 }, () => colour).flat());
const png = (data: Buffer): Buffer => PNG.sync.write(Object.assign(new PNG({ width: 3, height: 2 }), { data }));
const jpg = (data: Buffer): Buffer => jpeg.encode({ width: 3, height: 2, data }, 100).data;

/** Written by Pillow: six pixels without loss, and twelve of one colour, the second time the first of them transparent. */
const webps = {
  lossless: Buffer.from(
    "UklGRkgAAABXRUJQVlA4TDsAAAAvAkAAEC9AEEBSI0y2v8waZNI2pV/9+5m1kQlYDBV8+uckECBIVy7gH+Ehxra3BgIByljxwDYR/Y/xAgA=",
    "base64",
  ),
  lossy: Buffer.from(
    "UklGRjoAAABXRUJQVlA4IC4AAADQAQCdASoEAAMAAUAmJaACdLoB+AADsAD+5+S/+oM+QZ8gz9VL/5sCBmh86AAA",
    "base64",
  ),
  extended: Buffer.from(
    "UklGRmIAAABXRUJQVlA4WAoAAAAQAAAAAwAAAgAAQUxQSA0AAAABDzD/ERHiDg8R/Q8DAFZQOCAuAAAA0AEAnQEqBAADAAFAJiWgAnS6AfgAA7AA/ufkv/qDPkGfIM/VS/+bAgZofOgAAA==",
    "base64",
  ),
};

const layouts = layoutsOf["image-classification"];

describe("an image", () => {
  it("is red, green and blue of every pixel, row by row", async () => {
    const data = Buffer.from(Array.from({ length: 24 }, (_, i) => (i % 4 === 3 ? 255 : i)));
    expect(await decodeImage(png(data), "x")).toEqual({
      width: 3,
      height: 2,
      pixels: new Uint8Array([0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20, 21, 22]),
    });
  });

  it("may be a JPEG, close to the colours it was made of", async () => {
    const { width, height, pixels } = await decodeImage(jpg(filled(200, 100, 50, 255)), "x");
    expect([width, height, pixels.length]).toEqual([3, 2, 18]);
    pixels.forEach((value, i) => expect(Math.abs(value - [200, 100, 50][i % 3]!)).toBeLessThan(4));
  });

  it("may be a WebP, with what Pillow reads of it", async () => {
    expect(await decodeImage(webps.lossless, "x")).toEqual({
      width: 3,
      height: 2,
      pixels: new Uint8Array([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 227, 177, 152, 255, 255, 255]),
    });
    const { width, height, pixels } = await decodeImage(webps.lossy, "x");
    expect([width, height]).toEqual([4, 3]);
    pixels.forEach((value, i) => expect(value).toBe([88, 160, 250][i % 3]));
    const mixed = await decodeImage(webps.extended, "x");
    expect(mixed).toEqual({ width, height, pixels: Uint8Array.from(pixels, (value, i) => (i < 3 ? 255 : value)) });
  });

  it("lies on white where it is transparent", async () => {
    expect((await decodeImage(png(filled(10, 20, 30, 0)), "x")).pixels).toEqual(new Uint8Array(18).fill(255));
    const [half] = (await decodeImage(png(filled(0, 0, 0, 51)), "x")).pixels;
    expect(half).toBe(204);
  });

  it.each<[string, Buffer, RegExp]>([
    ["no image", Buffer.from("GIF89a"), /^a\.png is no image that can be read: PNG, JPEG and WebP can\.$/],
    ["one that breaks off", png(filled(1, 2, 3, 255)).subarray(0, 40), /^a\.png is a damaged image: /],
    ["a WebP that breaks off", webps.lossy.subarray(0, 40), /^a\.png is a damaged image: /],
    ["a WebP without a size", webps.lossy.subarray(0, 14), /^a\.png is a damaged image: /],
    ["a JPEG that breaks off", jpg(filled(1, 2, 3, 255)).subarray(0, 60), /^a\.png is a damaged image: /],
  ])("is refused where it is %s", async (_, bytes, message) => {
    await expect(decodeImage(bytes, "a.png")).rejects.toThrow(message);
    await expect(decodeImage(bytes, "a.png")).rejects.toBeInstanceOf(UsageError);
  });

  it("is refused for a size that nobody would have meant, before memory is taken for it", async () => {
    const huge = png(filled(1, 2, 3, 255));
    huge.writeUInt32BE(2 ** 30, 16);
    const wide = Buffer.from(webps.lossless);
    wide.writeUInt32LE(2 ** 28 - 1, 21);
    const large = Buffer.from(webps.lossy);
    large.writeUInt32LE(2 ** 30 - 1, 26);
    const canvas = Buffer.from(webps.extended);
    canvas.fill(255, 24, 30);
    for (const image of [huge, wide, large, canvas])
      await expect(decodeImage(image, "a.png")).rejects.toThrow(
        "a.png is a damaged image: it claims more than 67108864 pixels.",
      );
  });
});

describe("images as data", () => {
  it("may be a folder with a folder for each label, in the order of names", async () => {
    const folder = withFiles({ "dog/notes.txt": "not an image", "cat/a.txt": "" });
    for (const name of ["dog/2.png", "dog/10.jpg", "cat/1.png"])
      writeFileSync(join(folder, name), name.endsWith("png") ? png(filled(1, 2, 3, 255)) : jpg(filled(1, 2, 3, 255)));
    const rows = await firstRows(folder, { layouts }, Infinity);
    expect(rows.map(({ label, origin }) => [label, origin.slice(-9)])).toEqual([
      ["cat", "cat/1.png"],
      ["dog", "og/10.jpg"],
      ["dog", "dog/2.png"],
    ]);
    expect(rows[0]?.image?.pixels.slice(0, 3)).toEqual(new Uint8Array([1, 2, 3]));
  });

  it("may be named by their paths, from the folder of the data file", async () => {
    const folder = withFiles({ "rows/a.csv": "image,label\npictures/1.png,cat\n", "rows/pictures/x": "" });
    writeFileSync(join(folder, "rows/pictures/1.png"), png(filled(9, 8, 7, 255)));
    const [row] = await firstRows(join(folder, "rows/a.csv"), { layouts }, 1);
    expect(row).toMatchObject({ label: "cat", image: { width: 3, height: 2 } });
  });

  it.each(["snappy", "zstd", "gzip"])(
    "may lie in Parquet, as Hugging Face's data sets have them (%s)",
    async (name) => {
      const file = join(import.meta.dirname, `../../test/golden/rows-${name}.parquet`);
      const rows = await firstRows(file, { layouts }, Infinity);
      expect(rows.map(({ label, image }) => [label, image?.width, image?.height])).toEqual([
        [0, 5, 4],
        [1, 5, 4],
      ]);
      expect(rows[0]?.image?.pixels.slice(0, 3)).toEqual(new Uint8Array([10, 200, 30]));
    },
  );

  it("are refused with the row that names none, and for a folder without labels", async () => {
    const folder = withFiles({ "a.csv": "image,label\nnowhere.png,cat\n", "b.jsonl": '{"image":3,"label":"cat"}\n' });
    await expect(firstRows(join(folder, "a.csv"), { layouts }, 1)).rejects.toThrow(
      /there is no data file .*nowhere\.png\.$/,
    );
    await expect(firstRows(join(folder, "b.jsonl"), { layouts }, 1)).rejects.toThrow(
      /b\.jsonl:1: column "image" holds neither the path of an image nor its bytes\.$/,
    );
    await expect(firstRows(emptyFolder(), { layouts }, 1)).rejects.toThrow(/has no folders in it: a folder of images/);
  });
});

describe("Parquet of other programs", () => {
  const file = join(import.meta.dirname, "../../test/golden/rows-snappy.parquet");

  it("holds lists, chats and whole numbers of 64 bits", async () => {
    const tags = await firstRows(file, { layouts: layoutsOf["token-classification"] }, 1);
    expect(tags).toMatchObject([{ tokens: ["a", "b"], tags: [1, 2] }]);
    const chats = await firstRows(file, { columns: { messages: "messages" }, layouts: layoutsOf["causal-lm"] }, 1);
    expect(chats[0]?.messages).toEqual([
      { role: "user", content: "hi" },
      { role: "assistant", content: "ho" },
    ]);
  });

  it("is read group by group, with the numbers of its rows", async () => {
    const rows = await firstRows(file, { columns: { text: "text" }, layouts: layoutsOf["causal-lm"] }, 5);
    expect(rows.map(({ text, origin }) => [text, origin.split(", ")[1]])).toEqual([
      ["one", "row 0"],
      ["zwölf", "row 1"],
    ]);
  });
});
