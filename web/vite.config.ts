import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // Nothing is inlined: the content security policy allows files of this origin only.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 700,
  },
  experimental: {
    // Styles and scripts name their neighbours relatively, so that only index.html knows a path prefix.
    renderBuiltUrl: (_file, { hostType }) => (hostType === 'html' ? undefined : { relative: true }),
  },
  server: {
    proxy: {
      '/api': 'http://127.0.0.1:8000',
      '/ws': { target: 'ws://127.0.0.1:8000', ws: true },
    },
  },
  test: {
    include: ['test/**/*.test.ts'],
  },
});
