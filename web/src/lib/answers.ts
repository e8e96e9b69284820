// Answers to the questions of a turn, and the words in which they are shown.

import type { Choice } from './wire';

/** As the server writes it: values of one question joined by a comma, questions by a semicolon. */
export const answerText = (values: string[][]): string =>
  values
    .filter((list) => list.length > 0)
    .map((list) => list.join(', '))
    .join('; ');

/** The labels that such words name, by question. Other clients say what they like: then there are none. */
export function chosenIn(questions: Choice[], answer: string): string[][] {
  const parts = questions.length === 1 ? [answer] : answer.split('; ');
  return questions.map(({ options, multiSelect }, i) => {
    const said = parts[i] ?? '';
    const labels = options.map((option) => option.label);
    if (labels.includes(said)) return [said];
    const named = multiSelect ? said.split(', ') : [];
    return labels.filter((label) => named.includes(label));
  });
}
