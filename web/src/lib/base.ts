// The path under which the server is reached: "/" or "/prefix/".

function find(): string {
  const content = document.querySelector<HTMLMetaElement>('meta[name="colloquy-base"]')?.content ?? '/';
  return content.endsWith('/') ? content : `${content}/`;
}

export const base: string = find();

/** Of the socket of this path. */
export const socketUrl = (path = 'ws'): string => `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${base}${path}`;
