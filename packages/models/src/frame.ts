/** @file What a tokenizer's template puts around texts and pairs, and how they are cut to leave room for it. */

/** Token ids, with which of two texts each belongs to. */
export interface Framed {
  readonly ids: readonly number[];
  readonly types: readonly number[];
}

/** Encodes a text or a pair with the template around it. */
type Encode = (text: string, pair: string | null) => Framed;

/** A template's tokens: between them go the texts. */
interface Frame {
  /** Before the first text, between the two, after the last: one list more than there are texts. */
  readonly around: readonly Framed[];
  /** Type of each text's tokens. */
  readonly types: readonly number[];
}

/** A text that takes one token or a few, to see where the template puts it. */
const PROBE = "a";

/** Texts in their template. */
export interface FramedTexts extends Framed {
  /** Where each text stands: its first token, and the one behind its last. */
  readonly spans: readonly (readonly [start: number, end: number])[];
}

/** Puts a template around the ids of one text or two, which are cut so that all is at most `longest` tokens. */
export type PutAround = (texts: readonly (readonly number[])[], longest: number) => FramedTexts;

/**
 * The template of a tokenizer, found by trying it.
 * @param plain ids of a text without the template.
 */
export function templateOf(encode: Encode, plain: (text: string) => readonly number[]): PutAround {
  const probe = plain(PROBE);
  const frames = new Map<number, Frame>();
  const frameFor = (count: number): Frame => {
    const frame = frames.get(count) ?? frameOf(encode(PROBE, count > 1 ? PROBE : null), probe, count);
    frames.set(count, frame);
    return frame;
  };
  return (texts, longest) => {
    const { around, types } = frameFor(texts.length);
    const room = Math.max(0, longest - around.reduce((n, { ids }) => n + ids.length, 0));
    const kept = room < texts.reduce((n, ids) => n + ids.length, 0) ? cut(texts, room) : texts;
    const row = { ids: [] as number[], types: [] as number[], spans: [] as [number, number][] };
    around.forEach((piece, i) => {
      row.ids.push(...piece.ids);
      row.types.push(...piece.types);
      const text = kept[i];
      if (text === undefined) return;
      row.spans.push([row.ids.length, row.ids.length + text.length]);
      row.ids.push(...text);
      row.types.push(...text.map(() => types[i] ?? 0));
    });
    return row;
  };
}

function frameOf({ ids, types }: Framed, probe: readonly number[], count: number): Frame {
  const around: Framed[] = [];
  const textTypes: number[] = [];
  let end = 0;
  const piece = (from: number, to: number): Framed => ({ ids: ids.slice(from, to), types: types.slice(from, to) });
  for (let i = 0; i < count; i++) {
    let at = end;
    while (at < ids.length && !probe.every((id, j) => ids[at + j] === id)) at++;
    around.push(piece(end, at));
    textTypes.push(types[at] ?? 0);
    end = at + probe.length;
  }
  return { around: [...around, piece(end, ids.length)], types: textTypes };
}

/** Cuts at the end, of two texts the longer one first. @see Hugging Face tokenizers, `truncate_encodings` (LongestFirst) */
function cut(texts: readonly (readonly number[])[], room: number): readonly (readonly number[])[] {
  const [first = [], second] = texts;
  if (second === undefined) return [first.slice(0, room)];
  const [short, long] = [first.length, second.length].sort((a, b) => a - b) as [number, number]; // two lengths
  const half = Math.floor(room / 2);
  const [less, more] = short <= half ? [short, Math.min(long, room - short)] : [half, room - half];
  return first.length <= second.length
    ? [first.slice(0, less), second.slice(0, more)]
    : [first.slice(0, more), second.slice(0, less)];
}
