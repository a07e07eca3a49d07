/**
 * @file Chats as text, by the template that a tokenizer carries, and which of that text the assistant wrote.
 * @see HF `apply_chat_template`, with `return_assistant_tokens_mask`
 */
import { type JsonObject, StateError } from "@graftml/peft";
import { Template } from "@huggingface/jinja";

/** One turn of a chat. */
export interface Turn {
  readonly role: string;
  readonly content: string;
  /** Whatever else the template knows: tool calls, reasoning. */
  readonly [key: string]: unknown;
}

/** A stretch of a text: from the first character to the one behind the last. */
export type Span = readonly [start: number, end: number];

/** A chat in words. */
export interface ChatText {
  readonly text: string;
  /** What the assistant wrote, with the marks by which it ended its turns: what a model is to learn. */
  readonly spans: readonly Span[];
  /** Whether the assistant's last turn has a mark at its end; without one, nothing would teach a model to stop. */
  readonly ended: boolean;
}

/** A tokenizer's chat template. */
export interface ChatTemplate {
  /** A chat, and what begins the assistant's next turn: what a model is to write on. */
  prompt(turns: readonly Turn[]): string;
  /**
   * @param asked how many turns are a prompt, of which nothing is learnt; default 0.
   * @throws {StateError} if the template refuses the chat, or nobody can say what of its text is whose.
   */
  render(turns: readonly Turn[], asked?: number): ChatText;
}

/** Marks that stand for `{% generation %}` and `{% endgeneration %}`: code points that are no characters. */
const [BEGIN, END] = ["\uFDD0", "\uFDD1"] as const;

const ASSISTANT = "assistant";

/**
 * A chat template.
 * @param source Jinja, as in tokenizer_config.json or chat_template.jinja.
 * @param names the special tokens that templates use by name, such as `bos_token`.
 * @param file for messages.
 * @throws {StateError} if it is no template.
 */
export function chatTemplate(source: string, names: Readonly<Record<string, string>>, file: string): ChatTemplate {
  const template = parsed(marked(source), file);
  const marks = source.includes("endgeneration");
  const write = (messages: readonly Turn[], prompt: boolean): string => {
    try {
      return template.render({ ...names, messages, add_generation_prompt: prompt });
    } catch (cause) {
      throw new StateError(`the chat template of ${file} refuses it: ${reason(cause)}.`, { cause });
    }
  };
  const plain = (turns: readonly Turn[], prompt = false): string =>
    write(turns, prompt).replaceAll(/[\uFDD0\uFDD1]/g, "");
  return {
    prompt: (turns) => plain(turns, true),
    render: (turns, asked = 0) => {
      const { text, spans: all } = marks ? fromMarks(write(turns, false)) : fromPrefixes(turns, plain, file);
      const from = asked === 0 ? 0 : commonPrefix(text, plain(turns.slice(0, asked), true));
      const spans = all.filter(([start]) => start >= from);
      const last = turns.at(-1);
      const end = spans.at(-1)?.[1] ?? 0;
      const ended = last?.role !== ASSISTANT || !text.slice(0, end).trimEnd().endsWith(last.content.trim());
      return { text: ended ? text : text.slice(0, end), spans, ended };
    },
  };
}

/** The template of a tokenizer's configuration, if it has one: of several, the one called "default". */
export function templateIn(config: JsonObject): string | undefined {
  const given = config["chat_template"];
  if (typeof given === "string") return given;
  if (!Array.isArray(given)) return undefined;
  const named = given as readonly { readonly name?: unknown; readonly template?: unknown }[]; // both are checked here
  const source = named.find(({ name }) => name === "default")?.template;
  return typeof source === "string" ? source : undefined;
}

function parsed(source: string, file: string): Template {
  try {
    return new Template(source);
  } catch (cause) {
    throw new StateError(`the chat template of ${file} is damaged: ${reason(cause)}.`, { cause });
  }
}

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause)).replace(/\.$/, "");

/** The template with marks for its generation tags. Blanks around a tag go as Jinja's lstrip_blocks and trim_blocks say. */
const marked = (source: string): string =>
  source.replaceAll(
    /(?:^[ \t]*)?\{%(-?)\s*(end)?generation\s*(-?)%\}\n?/gm,
    (_, left: string, end: string | undefined, right: string) =>
      `{{${left} "${end === undefined ? BEGIN : END}" ${right}}}`,
  );

/** Spans as a template marks them. */
function fromMarks(whole: string): { readonly text: string; readonly spans: readonly Span[] } {
  const spans: Span[] = [];
  let text = "";
  let start = 0;
  for (const piece of whole.split(/(?=[\uFDD0\uFDD1])/)) {
    if (piece.startsWith(BEGIN)) start = text.length;
    else if (piece.startsWith(END)) spans.push([start, text.length]);
    text += piece.replace(/^[\uFDD0\uFDD1]/, "");
  }
  return { text, spans };
}

/**
 * Spans of a template without marks: a turn of the assistant's is what a chat that ends with it has more than one that ends
 * before it and asks for it. Blanks behind the mark that ends a turn are not learnt: a model has stopped by then.
 */
function fromPrefixes(
  turns: readonly Turn[],
  write: (turns: readonly Turn[], prompt?: boolean) => string,
  file: string,
): { readonly text: string; readonly spans: readonly Span[] } {
  const text = write(turns);
  const spans = [...turns.entries()].flatMap(([i, { role, content }]): Span[] => {
    if (role !== ASSISTANT) return [];
    const before = turns.slice(0, i);
    // A template may say less than it asks with: some open a thought that the answer itself does not begin with.
    const start = commonPrefix(text, write(before, true));
    if (i > 0 && start < write(before).length) throw new StateError(unstable(file, i));
    const end = endOf(content, { text, start, ending: write(turns.slice(0, i + 1)) });
    if (end === undefined) throw new StateError(unstable(file, i));
    return [[start, end]];
  });
  return { text, spans };
}

/**
 * Where a turn ends in a chat, given the chat that ends with it. Earlier turns may be written otherwise than the last one,
 * without their thoughts; but what follows their content is the same.
 */
function endOf(
  content: string,
  { text, start, ending }: { readonly text: string; readonly start: number; readonly ending: string },
): number | undefined {
  const said = [content, content.trim()].find((part) => part !== "" && ending.includes(part, start));
  const mark = said === undefined ? ending.slice(start) : ending.slice(ending.lastIndexOf(said) + said.length);
  if (text.startsWith(ending)) return ending.length - mark.length + mark.trimEnd().length;
  const there = said === undefined ? -1 : text.indexOf(said, start);
  if (said === undefined || there < 0) return undefined;
  const behind = there + said.length;
  return behind + mark.slice(0, commonPrefix(mark, text.slice(behind))).trimEnd().length;
}

const unstable = (file: string, turn: number): string =>
  `the chat template of ${file} writes turn ${turn} otherwise once more follow, so that nobody can say what of it the assistant wrote. Put {% generation %} and {% endgeneration %} around that in the template.`;

function commonPrefix(a: string, b: string): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  return i;
}
