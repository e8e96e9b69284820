// A conversation as the page shows it: a snapshot, and the frames that follow it, folded into items.
// Pure. Every function returns a new transcript and shares what did not change.

import { toHex } from './ids';
import { toolLabel } from './tools';
import type { ChatFrame, Choice, Message, Outcome, Usage } from './wire';

export interface TextBlock {
  kind: 'text';
  id: string;
  text: string;
}

export interface ReasoningBlock {
  kind: 'reasoning';
  id: string;
  text: string;
}

export interface ToolBlock {
  kind: 'tool';
  /** The call's id, unique in the conversation. */
  id: string;
  name: string;
  input: unknown;
  result: ToolResult | null;
}

export interface ToolResult {
  output: string;
  isError: boolean;
  /** The server has more than is shown here. */
  truncated: boolean;
  durationMs: number | null;
}

/** What a turn ended with, for a person to answer. */
export interface QuestionBlock {
  kind: 'question';
  id: string;
  questions: Choice[];
  /** What was said to it; null: it waits. */
  answer: string | null;
}

export type Block = TextBlock | ReasoningBlock | ToolBlock | QuestionBlock;

export interface UserItem {
  kind: 'user';
  /** The message's id as hex. */
  id: string;
  text: string;
  at: string;
  clientId: string | null;
  /** The turn that answers it, once it is known. */
  turnId: string | null;
  /** It came while we were listening, so an answer is on its way. */
  live: boolean;
}

export interface Failure {
  sentence: string;
  code: string | null;
  retryable: boolean;
}

export interface TurnItem {
  kind: 'turn';
  /** The turn's id as hex. */
  id: string;
  at: string | null;
  blocks: Block[];
  state: 'running' | Outcome;
  /** What the agent is doing now, in a few words. */
  status: string | null;
  failure: Failure | null;
  durationMs: number | null;
  cost: number | null;
  usage: Usage | null;
  /** Ids of the messages it is made of, for links from the search. */
  messageIds: string[];
}

export type Item = UserItem | TurnItem;

export interface Transcript {
  /** In the order in which they began. */
  items: Item[];
  /** The position in the conversation's log that `items` stands for. */
  seq: string | null;
  /** The oldest message that is loaded, and whether older ones exist. */
  oldest: string | null;
  hasOlder: boolean;
  /** Results whose call is on an older page. */
  orphans: Record<string, ToolResult>;
  /** The title, if a frame has told it. */
  title: string | null;
  removed: boolean;
}

export const empty: Transcript = {
  items: [],
  seq: null,
  oldest: null,
  hasOlder: false,
  orphans: {},
  title: null,
  removed: false,
};

/** The newest page of messages, and the position it stands for. */
export function fromSnapshot(messages: Message[], seq: string | null, hasOlder: boolean): Transcript {
  const { items, orphans } = itemsOf(messages, {});
  return { ...empty, items, orphans, seq, oldest: messages[0]?.id ?? null, hasOlder };
}

/** Puts an older page in front. A turn that the page boundary cut in two becomes one again. */
export function prepend(now: Transcript, messages: Message[], hasOlder: boolean): Transcript {
  const older = itemsOf(messages, now.orphans);
  const seen = new Map(older.items.map((item) => [item.id, item]));
  const rest: Item[] = [];
  for (const item of now.items) {
    const same = seen.get(item.id);
    if (!same) rest.push(item);
    else if (same.kind === 'turn' && item.kind === 'turn') joinTurn(same, item);
  }
  return {
    ...now,
    items: [...older.items, ...rest],
    orphans: older.orphans,
    oldest: messages[0]?.id ?? now.oldest,
    hasOlder,
  };
}

/** The whole outputs of tools whose frames carried only their beginning. */
export function completeResults(now: Transcript, messages: Message[]): Transcript {
  const whole = resultsOf(messages);
  const fill = (block: Block): Block => {
    const result = block.kind === 'tool' ? whole[block.id] : undefined;
    if (block.kind !== 'tool' || !block.result?.truncated || !result) return block;
    return { ...block, result: { ...result, durationMs: block.result.durationMs } };
  };
  const items = now.items.map((item) => {
    if (item.kind !== 'turn') return item;
    const blocks = item.blocks.map(fill);
    return blocks.some((block, i) => block !== item.blocks[i]) ? { ...item, blocks } : item;
  });
  return { ...now, items };
}

/** One frame of the conversation, in the order of its log. */
export function applyFrame(now: Transcript, frame: ChatFrame): Transcript {
  if (frame.seq !== undefined && frame.seq === now.seq) return now;
  const next = fold(now, frame);
  return frame.seq === undefined || frame.seq === next.seq ? next : { ...next, seq: frame.seq };
}

function fold(now: Transcript, frame: ChatFrame): Transcript {
  switch (frame.type) {
    case 'user_message':
      return addUser(now, {
        kind: 'user',
        id: toHex(frame.messageId),
        text: frame.content,
        at: frame.timestamp,
        clientId: frame.clientId ?? null,
        turnId: null,
        live: true,
      });
    case 'chat_renamed':
      return { ...now, title: frame.title };
    case 'chat_removed':
      return { ...now, removed: true };
    case 'turn_started':
      return startTurn(now, frame.turnId ?? '', frame.messageIds ?? []);
    case 'assistant_message':
      return inTurn(now, frame.turnId, (turn) => ({
        ...turn,
        status: null,
        blocks: appendText(turn.blocks, frame.messageId === undefined ? null : toHex(frame.messageId), frame.content),
      }));
    case 'assistant_reasoning':
      return inTurn(now, frame.turnId, (turn) => ({
        ...turn,
        status: null,
        blocks: appendReasoning(turn.blocks, frame.content),
      }));
    case 'agent_status':
      return inTurn(now, frame.turnId, (turn) => ({ ...turn, status: frame.message }));
    case 'tool_use':
      return inTurn(now, frame.turnId, (turn) => ({
        ...turn,
        blocks: turn.blocks.some((block) => block.kind === 'tool' && block.id === frame.toolId)
          ? turn.blocks
          : [
              ...turn.blocks,
              { kind: 'tool', id: frame.toolId, name: frame.toolName, input: frame.toolInput, result: null },
            ],
      }));
    case 'tool_result':
      return inTurn(now, frame.turnId, (turn) => {
        const blocks = turn.blocks.map((block) =>
          block.kind === 'tool' && block.id === frame.toolId && !block.result
            ? {
                ...block,
                result: {
                  output: frame.output,
                  isError: frame.isError === true,
                  truncated: frame.truncated === true,
                  durationMs: frame.durationMs ?? null,
                },
              }
            : block,
        );
        const waits = blocks.some((block) => block.kind === 'tool' && !block.result);
        return { ...turn, blocks, status: waits ? turn.status : null };
      });
    case 'question':
      return inTurn(now, frame.turnId, (turn) => ({
        ...turn,
        status: null,
        blocks: turn.blocks.some((block) => block.kind === 'question' && block.id === frame.questionId)
          ? turn.blocks
          : [...turn.blocks, { kind: 'question', id: frame.questionId, questions: frame.questions, answer: null }],
      }));
    case 'result':
      return inTurn(now, frame.turnId, (turn) => ({
        ...turn,
        state: frame.outcome ?? (frame.success ? 'completed' : 'failed'),
        status: null,
        cost: frame.cost,
        durationMs: frame.duration_ms,
        usage: frame.usage ?? null,
      }));
    case 'error':
      if (frame.turnId === undefined) return now;
      return inTurn(now, frame.turnId, (turn) => ({
        ...turn,
        state: 'failed',
        status: null,
        failure: { sentence: frame.error, code: frame.code ?? null, retryable: frame.retryable === true },
      }));
    default:
      return now;
  }
}

function addUser(now: Transcript, user: UserItem): Transcript {
  if (now.items.some((item) => item.kind === 'user' && item.id === user.id)) return now;
  // What is said to somebody who asks is the answer. What was said before waits until there is one.
  const items = now.items.map((item) => (isAsking(item) ? { ...item, blocks: item.blocks.map(answered(user.text)) } : item));
  return { ...now, items: [...items, user] };
}

const answered =
  (answer: string) =>
  (block: Block): Block =>
    block.kind === 'question' && block.answer === null ? { ...block, answer } : block;

/** A turn that ended with a question to which nobody has said anything yet. */
export const isAsking = (item: Item): item is TurnItem =>
  item.kind === 'turn' && item.state === 'asked' && item.blocks.some((block) => block.kind === 'question' && block.answer === null);

function startTurn(now: Transcript, turnId: string, messageIds: string[]): Transcript {
  const id = toHex(turnId);
  const answers = new Set(messageIds.map(toHex));
  const started = inTurn(now, id, (turn) => turn);
  return {
    ...started,
    items: started.items.map((item) =>
      item.kind === 'user' && answers.has(item.id) && item.turnId !== id ? { ...item, turnId: id } : item,
    ),
  };
}

/** Changes one turn; begins it if this is the first we hear of it. A turn of which frames come is running. */
function inTurn(now: Transcript, turnId: string | undefined, change: (turn: TurnItem) => TurnItem): Transcript {
  if (!turnId) return now;
  const id = toHex(turnId);
  const at = now.items.findLastIndex((item) => item.kind === 'turn' && item.id === id);
  if (at < 0) return { ...now, items: [...now.items, change(newTurn(id, null))] };
  const items = now.items.slice();
  items[at] = change({ ...(items[at] as TurnItem), state: 'running' });
  return { ...now, items };
}

function newTurn(id: string, at: string | null): TurnItem {
  return {
    kind: 'turn',
    id,
    at,
    blocks: [],
    state: 'running',
    status: null,
    failure: null,
    durationMs: null,
    cost: null,
    usage: null,
    messageIds: [],
  };
}

/** `id` null: the text that is written last goes on, unless something else has come since. */
function appendText(blocks: Block[], given: string | null, piece: string): Block[] {
  const id = given ?? (blocks.at(-1)?.kind === 'text' ? blocks.at(-1)!.id : `text-${blocks.length}`);
  const at = blocks.findLastIndex((block) => block.kind === 'text' && block.id === id);
  if (at < 0) return [...blocks, { kind: 'text', id, text: piece }];
  const next = blocks.slice();
  next[at] = { kind: 'text', id, text: (next[at] as TextBlock).text + piece };
  return next;
}

function appendReasoning(blocks: Block[], piece: string): Block[] {
  const last = blocks.at(-1);
  if (last?.kind !== 'reasoning') return [...blocks, { kind: 'reasoning', id: `thought-${blocks.length}`, text: piece }];
  return [...blocks.slice(0, -1), { ...last, text: last.text + piece }];
}

/** Messages to items: the messages of one turn are one item, results go to their calls. */
function itemsOf(messages: Message[], before: Record<string, ToolResult>): { items: Item[]; orphans: Record<string, ToolResult> } {
  const items: Item[] = [];
  const turns = new Map<string, TurnItem>();
  const orphans = { ...before, ...resultsOf(messages) };
  for (const message of messages) {
    if (message.role === 'user') {
      const texts = message.parts.filter((part) => part.type === 'text').map((part) => part.content.text);
      if (texts.length > 0) items.push(userOf(message, texts.join('\n')));
      continue;
    }
    const id = toHex(message.turnId ?? message.id);
    let turn = turns.get(id);
    if (!turn) {
      turn = { ...newTurn(id, message.createdAt), state: 'completed' };
      turns.set(id, turn);
      items.push(turn);
    }
    addMessage(turn, message, orphans);
  }
  return { items, orphans };
}

function resultsOf(messages: Message[]): Record<string, ToolResult> {
  const results: Record<string, ToolResult> = {};
  for (const part of messages.flatMap((message) => message.parts)) {
    if (part.type !== 'tool_result') continue;
    results[part.content.tool_use_id] = {
      output: part.content.content,
      isError: part.content.is_error === true,
      truncated: false,
      durationMs: part.content.durationMs ?? null,
    };
  }
  return results;
}

function userOf(message: Message, text: string): UserItem {
  return {
    kind: 'user',
    id: toHex(message.id),
    text,
    at: message.createdAt,
    clientId: message.clientId ?? null,
    turnId: message.turnId ? toHex(message.turnId) : null,
    live: false,
  };
}

function addMessage(turn: TurnItem, message: Message, orphans: Record<string, ToolResult>): void {
  turn.messageIds.push(toHex(message.id));
  for (const part of [...message.parts].sort((a, b) => a.order - b.order)) {
    if (part.type === 'text' && part.content.text !== '') {
      turn.blocks.push({ kind: 'text', id: toHex(part.id), text: part.content.text });
    } else if (part.type === 'reasoning' && part.content.text !== '') {
      turn.blocks.push({ kind: 'reasoning', id: toHex(part.id), text: part.content.text });
    } else if (part.type === 'tool_use') {
      const { id, name, input } = part.content;
      turn.blocks.push({ kind: 'tool', id, name: toolLabel(name), input, result: orphans[id] ?? null });
      delete orphans[id];
    }
  }
  if (message.streaming) turn.state = 'running';
  else if (message.status) turn.state = message.status;
  if (message.status === 'failed') {
    const code = message.errorCode ?? null;
    const sentence = message.error ?? 'The answer failed.';
    turn.failure = { sentence, code, retryable: code === null || RETRYABLE.has(code) };
  }
}

/** Codes of failures that may be another time's success. */
export const RETRYABLE = new Set([
  'provider_unavailable',
  'provider_rate_limited',
  'provider_truncated',
  'interrupted',
  'storage_full',
]);

/** `first` is the older half of the same turn; it becomes the whole. */
function joinTurn(first: TurnItem, second: TurnItem): void {
  first.blocks = [...first.blocks, ...second.blocks];
  first.messageIds = [...first.messageIds, ...second.messageIds];
  first.state = second.state;
  first.status = second.status;
  first.failure = second.failure;
  first.durationMs = second.durationMs;
  first.cost = second.cost;
  first.usage = second.usage;
}
