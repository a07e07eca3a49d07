/** @file Text to token ids and back, by a folder's tokenizer.json; chats by its chat template. */
import { type JsonObject, StateError } from "@graftml/peft";
import { Tokenizer } from "@huggingface/tokenizers";
import { type ChatTemplate, chatTemplate, templateIn } from "./chat.ts";
import { type PutAround, templateOf } from "./frame.ts";

/** What is used of the library. Its own types import files without extensions, which ESM does not resolve: they say nothing. */
interface Library {
  encode(
    text: string,
    options: {
      readonly add_special_tokens: boolean;
      readonly text_pair?: string | null;
      readonly return_token_type_ids?: boolean;
    },
  ): { readonly ids: readonly number[]; readonly token_type_ids?: readonly number[] };
  decode(
    ids: readonly number[],
    options: { readonly skip_special_tokens: boolean; readonly clean_up_tokenization_spaces: boolean },
  ): string;
  token_to_id(token: string): number | undefined;
}
const Library = Tokenizer as new (json: JsonObject, config: JsonObject) => Library;

/** A tokenizer as models use it. Padding and truncation that are stored in its file are ignored. */
export interface TextTokenizer {
  /** Ids of a text, with what the tokenizer's own template adds unless `special` is false. */
  encode(text: string, options?: { readonly special?: boolean }): readonly number[];
  /** The tokenizer's template around the ids of one text or of a pair, cut to make room for it. */
  readonly around: PutAround;
  /** Text of ids; special tokens are left out unless `special` is true. */
  decode(ids: readonly number[], options?: { readonly special?: boolean }): string;
  /** Id of a token, if there is one. */
  idOf(token: string): number | undefined;
  /** Ids of the tokens that tokenizer_config.json names, or null. */
  readonly bos: number | null;
  readonly eos: number | null;
  readonly pad: number | null;
  readonly mask: number | null;
  /** Ids of all tokens that tokenizer_config.json names: none of them is a part of a text. */
  readonly special: ReadonlySet<number>;
  /** How chats are written; null if the tokenizer does not say. */
  readonly chat: ChatTemplate | null;
}

/**
 * A tokenizer from its parsed files.
 * @param json tokenizer.json
 * @param config tokenizer_config.json; {} if there is none.
 * @param file for messages.
 * @param template chat_template.jinja, which goes before the template that tokenizer_config.json may hold.
 * @throws {StateError} if the tokenizer is of a kind that is not known, or its file or its chat template is damaged.
 */
export function textTokenizer(
  json: JsonObject,
  config: JsonObject,
  file = "tokenizer.json",
  template: string | undefined = templateIn(config),
): TextTokenizer {
  // The library finds some damage only when it comes to use what is damaged.
  const attempt = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      throw new StateError(
        `${file} is no tokenizer that can be read: ${cause instanceof Error ? cause.message : String(cause)}.`,
        { cause },
      );
    }
  };
  const tokenizer: Library = attempt(() => new Library(json, config));
  const idOf = (token: string): number | undefined => attempt(() => tokenizer.token_to_id(token));
  const tokens = specialTokens(config);
  const named = (key: string): number | null => idOf(tokens[key] ?? "") ?? null;
  // transformers 5 cleans up only where it is told to, and never for byte pairs, whose text it would damage.
  const model = json["model"];
  const pairs = typeof model === "object" && model !== null && "type" in model && model.type === "BPE";
  const cleanUp = config["clean_up_tokenization_spaces"] === true && !pairs;
  const encode = (text: string, special: boolean): readonly number[] =>
    attempt(() => tokenizer.encode(text, { add_special_tokens: special }).ids);
  return {
    encode: (text, { special = true } = {}) => encode(text, special),
    around: templateOf(
      (text, pair) => {
        const options = { add_special_tokens: true, text_pair: pair, return_token_type_ids: true };
        const encoded = attempt(() => tokenizer.encode(text, options));
        const { ids, token_type_ids: types = ids.map(() => 0) } = encoded;
        return { ids, types };
      },
      (text) => encode(text, false),
    ),
    decode: (ids, { special = false } = {}) =>
      ids.length === 0
        ? ""
        : attempt(() =>
            tokenizer.decode(ids, { skip_special_tokens: !special, clean_up_tokenization_spaces: cleanUp }),
          ),
    idOf,
    bos: named("bos_token"),
    eos: named("eos_token"),
    pad: named("pad_token"),
    mask: named("mask_token"),
    special: new Set(Object.values(tokens).flatMap((token) => idOf(token) ?? [])),
    chat: template === undefined ? null : chatTemplate(template, tokens, file),
  };
}

/** The tokens that tokenizer_config.json names: `bos_token` and the like, as texts or as objects with one. */
function specialTokens(config: JsonObject): Readonly<Record<string, string>> {
  const entries = Object.entries(config).flatMap(([key, value]): readonly (readonly [string, string])[] => {
    const token = typeof value === "object" && value !== null && "content" in value ? value.content : value;
    return key.endsWith("_token") && typeof token === "string" ? [[key, token]] : [];
  });
  return Object.fromEntries(entries);
}
