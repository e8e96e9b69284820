// Puts a .br and a .gz beside every text file of the build, so that the server never compresses.
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const web = fileURLToPath(new URL('..', import.meta.url));
const dist = join(web, 'dist');
const text = new Set(['.css', '.html', '.js', '.json', '.svg', '.txt']);

// The font's licence travels with the font.
copyFileSync(join(web, 'node_modules/@fontsource-variable/inter/LICENSE'), join(dist, 'assets', 'inter-license.txt'));

for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !text.has(extname(entry.name))) continue;
  // The server fills in the path prefix of this file, so it must find it plain.
  if (entry.name === 'index.html') continue;
  const path = join(entry.parentPath, entry.name);
  const bytes = readFileSync(path);
  const br = brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
  const gz = gzipSync(bytes, { level: 9 });
  if (br.length < bytes.length) writeFileSync(`${path}.br`, br);
  if (gz.length < bytes.length) writeFileSync(`${path}.gz`, gz);
}
