// The hub's API: what its answers and its live frames are, and the requests of the inbox.

import { json, send } from './api';
import type { Frame } from './wire';

export { utc } from './time';

export type Platform = 'WHATSAPP' | 'WHATSAPP_TWILIO' | 'SMS_TWILIO' | 'TELEGRAM' | 'SLACK' | 'WEBHOOK' | 'INSTAGRAM';
export type Health = 'ok' | 'auth' | 'conflict' | 'unreachable';

export interface User {
  id: string;
  username: string;
  role: 'ADMIN' | 'MEMBER';
  is_active: boolean;
}

export interface Channel {
  id: string;
  name: string;
  platform: Platform;
  api_to_send_message: string | null;
  inbound_url: string;
  inbound_auth: 'required' | 'local';
  webhook_base_url: string | null;
  takeover: 'auto' | 'manual';
  takeover_minutes: number;
  window_hours: number | null;
  health: Health;
}

export interface Floor {
  holder: 'agent' | 'user' | 'none';
  user_id: string | null;
  until: string | null;
}

export type SenderType = 'CONTACT' | 'USER' | 'AGENT';
export type DeliveryStatus = 'PENDING' | 'SENT' | 'DELIVERED' | 'READ' | 'FAILED';

export interface Chat {
  id: string;
  name: string;
  external_id: string;
  channel_id: string;
  channel_name: string;
  contact_id: string;
  customer_phone: string | null;
  assigned_user_id: string | null;
  assigned_user_name: string | null;
  is_assigned: boolean;
  last_message_ts: string | null;
  last_sender_type: SenderType | null;
  last_message: string | null;
  unread_count: number;
  floor: Floor;
  needs_attention: boolean;
  warning: { code: string; agent_id: string; text: string } | null;
  window: { open: boolean; until: string | null } | null;
  opted_out: boolean;
}

/** A file of a message. `linked` is one of ours, at an address that the platform fetches. */
export interface Attachment {
  id: string;
  mime_type: string;
  /** 0 while it is not known. */
  size: number;
  /** A path on this server, or for a linked file a whole address. */
  url: string;
  name: string | null;
  state: 'fetching' | 'stored' | 'failed' | 'linked';
  error: string | null;
}

export interface Message {
  id: string;
  external_id: string | null;
  chat_id: string;
  content: string;
  sender_type: SenderType;
  sender_id: string | null;
  timestamp: string;
  meta_data: Record<string, unknown>;
  readed: boolean;
  delivery_status: DeliveryStatus;
  attachments: Attachment[];
  edited_at: string | null;
}

export interface Agent {
  id: string;
  name: string;
  kind: 'webhook' | 'builtin';
  webhook_url: string | null;
  buffer_time_seconds: number;
  activate_for_new_conversation: boolean;
  is_active: boolean;
  channel_ids: string[] | null;
  model: string | null;
  instructions: string | null;
}

/** What is shown of a new agent once. */
export type NewAgent = Agent & { access_token?: string; webhook_secret?: string };

export interface ChatAgent {
  agent_id: string;
  active: boolean;
  agent: Agent;
}

export interface Delivery {
  id: string;
  chat_id: string;
  state: 'open' | 'failed' | 'done' | 'superseded' | 'cancelled';
  attempts: number;
  next_at: string | null;
  status: number | null;
  error: string | null;
  created_at: string;
}

export interface Draft {
  id: string;
  agent_id: string;
  content: string;
  created_at: string;
}

export interface Activity {
  created_at: string;
  kind: string;
  text: string;
  user_id: string | null;
  agent_id: string | null;
}

export interface Contact {
  id: string;
  name: string;
  identities: { kind: string; value: string }[];
}

export interface Permission {
  user_id: string;
  username: string;
}

interface InChat {
  chat_id: string;
  channel_id: string;
}

export type HubFrame = InChat &
  (
    | {
        type: 'new_message';
        message_id: string;
        sender_type: SenderType;
        sender_id: string | null;
        timestamp: string;
        external_id: string | null;
        content: string;
        unread_count: number;
        metadata: Record<string, unknown>;
        attachments: Attachment[];
      }
    | {
        type: 'message_updated';
        message_id: string;
        delivery_status: DeliveryStatus;
        external_id: string | null;
        readed: boolean;
        content: string;
        metadata: Record<string, unknown>;
        attachments: Attachment[];
      }
    | { type: 'chat_updated'; chat_data: Chat }
    | { type: 'chat_deleted' }
  );

/** The socket has looked at the type. */
export const asHubFrame = (frame: Frame): HubFrame => frame as unknown as HubFrame;

interface Credential {
  name: string;
  label: string;
  secret?: boolean;
  hint?: string;
}

export interface PlatformForm {
  platform: Platform;
  label: string;
  credentials: Credential[];
  /** What is to be done on the platform's side. */
  told: string;
}

const TWILIO: Credential[] = [
  { name: 'user', label: 'Account SID', hint: 'Begins with AC.' },
  { name: 'token', label: 'Auth token', secret: true },
  { name: 'from_number', label: 'Number', hint: 'With the country code, such as +15551234567.' },
];
const TWILIO_TOLD = 'Enter this address in Twilio’s console as the one to call when a message comes in.';

/** The platforms that can be connected, and what each needs. */
export const PLATFORMS: PlatformForm[] = [
  {
    platform: 'TELEGRAM',
    label: 'Telegram',
    credentials: [{ name: 'token', label: 'Bot token', secret: true, hint: 'From @BotFather, such as 123456:ABC-DEF.' }],
    told: 'Nothing is to be done: the bot is told this address, or is asked for its messages if the server has no public address.',
  },
  { platform: 'WHATSAPP_TWILIO', label: 'WhatsApp by Twilio', credentials: TWILIO, told: TWILIO_TOLD },
  { platform: 'SMS_TWILIO', label: 'SMS by Twilio', credentials: TWILIO, told: TWILIO_TOLD },
  {
    platform: 'WHATSAPP',
    label: 'WhatsApp Cloud API',
    credentials: [
      { name: 'token', label: 'Access token', secret: true },
      { name: 'phone_number_id', label: 'Phone number id' },
      { name: 'app_secret', label: 'App secret', secret: true },
      { name: 'verify_token', label: 'Verify token', hint: 'A word of your own; Meta asks for it once.' },
    ],
    told: 'Enter this address and the verify token in the webhook settings of Meta’s app, and subscribe to “messages”.',
  },
  {
    platform: 'SLACK',
    label: 'Slack',
    credentials: [
      { name: 'token', label: 'Bot token', secret: true, hint: 'Begins with xoxb-.' },
      { name: 'signing_secret', label: 'Signing secret', secret: true },
    ],
    told: 'Enter this address as the request URL of Slack’s Events API, and subscribe to the events that begin with “message.”.',
  },
  {
    platform: 'WEBHOOK',
    label: 'Signed webhook',
    credentials: [],
    told: 'Your program sends its messages to this address, signed with the secret below.',
  },
];

export const platformLabel = (platform: Platform): string =>
  PLATFORMS.find((one) => one.platform === platform)?.label ?? platform;

/** Names one chat. */
export interface Place {
  channel: string;
  chat: string;
}

const query = (fields: Record<string, string | number | boolean | undefined>): string => {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '');
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
};
export const channelPath = (channel: string): string => `channels/${encodeURIComponent(channel)}`;
export const chatPath = ({ channel, chat }: Place): string => `${channelPath(channel)}/chats/${encodeURIComponent(chat)}`;
const post = <T>(path: string, body: unknown = {}, idempotencyKey?: string): Promise<T> =>
  json(path, idempotencyKey === undefined ? { method: 'POST', body } : { method: 'POST', body, idempotencyKey });
const put = <T>(path: string, body: unknown): Promise<T> => json(path, { method: 'PUT', body });

/** The word of the hub for nobody having signed in, while the rest of the server lets everybody in. */
export const NOT_SIGNED_IN = 422;

export const hasUsers = async (): Promise<boolean> => (await json<{ has_users: boolean }>('auth/has-users')).has_users;

/** Makes the first account. Its session is ended at once: the web app signs in with a cookie. `token`: the owner's. */
export async function signUp(account: { username: string; password: string }, token?: string): Promise<void> {
  const options = { method: 'POST', body: account, mayBeRefused: true, ...(token ? { token } : {}) };
  const session = await json<{ access_token: string }>('auth/signup', options);
  await send('auth/logout', { method: 'POST', body: {}, token: session.access_token, mayBeRefused: true }).catch(() => {});
}

export const users = (): Promise<User[]> => json('auth/users');
export const createUser = (user: { username: string; password: string; role: string }): Promise<User> => post('auth/users', user);

export const channels = (): Promise<Channel[]> => json('channels');
export const createChannel = (fields: Record<string, unknown>, key: string): Promise<Channel> => post('channels', fields, key);
export const changeChannel = (channel: string, fields: Record<string, unknown>): Promise<Channel> => put(channelPath(channel), fields);
export const removeChannel = (channel: string): Promise<void> => send(channelPath(channel), { method: 'DELETE' });

interface Secrets {
  /** Masked. */
  credentials_to_send_message: Record<string, string>;
  inbound_secret: string | null;
}
const secrets = (channel: string): Promise<Secrets> => json(`${channelPath(channel)}/credentials`);
export const inboundSecret = async (channel: string): Promise<string | null> => (await secrets(channel)).inbound_secret;
/** Changes these, and leaves the others: they go back as they were shown, which the server knows. */
export async function changeCredentials(channel: string, given: Record<string, string>): Promise<Channel> {
  const { credentials_to_send_message: shown } = await secrets(channel);
  return changeChannel(channel, { credentials_to_send_message: { ...shown, ...given } });
}

export const permissions = async (channel: string): Promise<Permission[]> =>
  (await json<{ permissions: Permission[] }>(`${channelPath(channel)}/permissions`)).permissions;
export const setPermission = (channel: string, user: string, granted: boolean): Promise<void> =>
  send(`${channelPath(channel)}/permissions/${user}`, { method: granted ? 'PUT' : 'DELETE' });
export type Kind = 'all' | 'unread' | 'waiting' | 'attention' | 'mine' | 'unassigned' | 'archived';
export interface Filter {
  /** Null: all channels. */
  channel: string | null;
  kind: Kind;
  words: string;
}

export interface ChatPage {
  chats: Chat[];
  total_count: number;
  has_more: boolean;
}

/** `me`: whose chats are "mine". `after`: the chat behind which the page begins. */
export const chats = ({ channel, kind, words }: Filter, me: string | null, limit: number, after?: string): Promise<ChatPage> => {
  const fields = {
    limit,
    after,
    q: words.trim(),
    needs_attention: kind === 'attention' ? true : undefined,
    unread: kind === 'unread' ? true : undefined,
    waiting: kind === 'waiting' ? true : undefined,
    assigned: kind === 'unassigned' ? false : undefined,
    assigned_user_id: kind === 'mine' ? (me ?? 'nobody') : undefined,
    archived: kind === 'archived' ? true : undefined,
  };
  return json(`${channel ? `${channelPath(channel)}/chats` : 'chats'}${query(fields)}`);
};

export const chat = (place: Place): Promise<Chat> => json(chatPath(place));
export const archive = (place: Place): Promise<void> => send(`${chatPath(place)}?soft=true`, { method: 'DELETE' });
export const take = (place: Place): Promise<Chat> => post(`${chatPath(place)}/take`);
export const release = (place: Place): Promise<Chat> => post(`${chatPath(place)}/release`);
export const assign = (place: Place, user: string | null): Promise<Chat> =>
  user === null ? post(`${chatPath(place)}/unassign`) : post(`${chatPath(place)}/assign`, { user_id: user });
export const markRead = async (place: Place, upTo?: string): Promise<number> =>
  (await post<{ unread_count: number }>(`${chatPath(place)}/read`, upTo ? { up_to: upTo } : {})).unread_count;

export interface MessagePage {
  /** The newest first. */
  messages: Message[];
  has_more: boolean;
}
export const messages = async (place: Place, limit: number, before?: string): Promise<MessagePage> => {
  const page = await json<MessagePage>(`${chatPath(place)}/messages${query({ limit, before })}`);
  // With `before` the server counts from the newest, not from there.
  return before === undefined ? page : { ...page, has_more: page.messages.length === limit };
};
export const say = (place: Place, content: string, key: string): Promise<Message> =>
  post(`${chatPath(place)}/messages`, { content }, key);
export const resend = (place: Place, message: string): Promise<Message> =>
  post(`${chatPath(place)}/messages/${message}/resend`);

export const drafts = async (place: Place): Promise<Draft[]> =>
  (await json<{ drafts: Draft[] }>(`${chatPath(place)}/drafts`)).drafts;
export const activity = async (place: Place): Promise<Activity[]> =>
  (await json<{ activity: Activity[] }>(`${chatPath(place)}/activity${query({ limit: 20 })}`)).activity;
export const contact = (id: string): Promise<Contact> => json(`contacts/${encodeURIComponent(id)}`);

/** Those that answer, and those that are muted. */
export const chatAgents = async (place: Place): Promise<ChatAgent[]> => {
  const of = async (active: boolean): Promise<ChatAgent[]> =>
    (await json<{ chat_agents: ChatAgent[] }>(`${chatPath(place)}/agents${query({ active, limit: 100 })}`)).chat_agents;
  const [active, muted] = await Promise.all([of(true), of(false)]);
  return [...active, ...muted];
};
export const linkAgent = (place: Place, agent: string): Promise<ChatAgent> =>
  post(`${chatPath(place)}/agents`, { agent_id: agent, active: true });
export const setChatAgent = (place: Place, agent: string, active: boolean): Promise<ChatAgent> =>
  put(`${chatPath(place)}/agents/${agent}`, { active });

export const agents = (): Promise<Agent[]> => json('auth/agents');
export const createAgent = (fields: Record<string, unknown>): Promise<NewAgent> => post('auth/agents', fields);
export const changeAgent = (agent: string, fields: Record<string, unknown>): Promise<Agent> => put(`auth/agents/${agent}`, fields);
export const removeAgent = (agent: string): Promise<void> => send(`auth/agents/${agent}`, { method: 'DELETE' });
export interface AgentTest {
  ok: boolean;
  status: number | null;
  ms: number;
  /** What it says; nobody is sent it. */
  replies: string[];
  error: string | null;
}
/** `text`: what an agent of ours is asked; a service behind a webhook gets a call without messages. */
export const testAgent = (agent: string, text: string): Promise<AgentTest> => post(`auth/agents/${agent}/test`, { text });
export const deliveries = async (agent: string): Promise<Delivery[]> =>
  (await json<{ deliveries: Delivery[] }>(`auth/agents/${agent}/deliveries${query({ limit: 10 })}`)).deliveries;
export const retryDelivery = (agent: string, delivery: string): Promise<Delivery> =>
  post(`auth/agents/${agent}/deliveries/${delivery}/retry`);
