// One id, two spellings: the sessions API writes a UUID with dashes, the chats API without.

export const toHex = (id: string): string => id.replaceAll('-', '').toLowerCase();

export function toUuid(hex: string): string {
  const h = toHex(hex);
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`;
}

export const isUuid = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);

/** A random id. `crypto.randomUUID` is missing where the page was not loaded over https or from this machine. */
export function freshId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return toUuid(Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(''));
}
