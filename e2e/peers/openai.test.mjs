import { tellTheStoriesOf } from './lib/models.mjs';

tellTheStoriesOf('openai', {
  settings: (url) => ({ OPENAI_API_KEY: 'none', OPENAI_BASE_URL: url }),
  tellsUsage: true,
});
