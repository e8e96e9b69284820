import { tellTheStoriesOf } from './lib/models.mjs';

tellTheStoriesOf('anthropic', {
  settings: (url) => ({ ANTHROPIC_API_KEY: 'none', ANTHROPIC_BASE_URL: url }),
  tellsUsage: false,
});
