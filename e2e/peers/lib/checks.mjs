// What must be true of every story. Each gives the faults it finds, in words.

/** `ours`: messages of the hub; `theirs`: `{ id, text }` of what the platform was given, in order. */
export function faultsOfSending(ours, theirs) {
  const out = ours.filter((one) => one.sender_type !== 'CONTACT' && one.delivery_status !== 'FAILED');
  const faults = [];
  for (const { id, text } of theirs) {
    const same = out.filter((one) => one.external_id === id);
    if (same.length !== 1) faults.push(`the platform has ${JSON.stringify(text)}, which ${same.length} of our messages are`);
    else if (same[0].content.trim() !== text) faults.push(`the platform has ${JSON.stringify(text)} for ${JSON.stringify(same[0].content)}`);
  }
  for (const one of out) {
    const same = theirs.filter(({ id }) => id === one.external_id);
    if (same.length !== 1) faults.push(`${JSON.stringify(one.content)} was sent ${same.length} times`);
  }
  const order = out.map((one) => theirs.findIndex(({ id }) => id === one.external_id)).filter((at) => at >= 0);
  if (order.some((at, i) => i > 0 && at < order[i - 1])) faults.push('the order is another one');
  return faults;
}

/** `said`: the texts of a contact, in order; `ours`: messages of the hub. */
export function faultsOfIntake(said, ours) {
  const kept = ours.filter((one) => one.sender_type === 'CONTACT').map((one) => one.content);
  const faults = [];
  for (const text of new Set([...said, ...kept])) {
    const [told, stored] = [said, kept].map((list) => list.filter((one) => one === text).length);
    if (told !== stored) faults.push(`${JSON.stringify(text)} was said ${told} times and stored ${stored} times`);
  }
  if (faults.length === 0 && said.join('\n') !== kept.join('\n')) faults.push('the order is another one');
  return faults;
}

const RANKS = { PENDING: 0, SENT: 1, DELIVERED: 2, READ: 3 };

/** `events` of the socket: no status of a message may be lower than one before. */
export function faultsOfStatuses(events) {
  const highest = new Map();
  const faults = [];
  for (const { type, message_id, delivery_status } of events) {
    if (type !== 'message_updated') continue;
    const before = highest.get(message_id) ?? 'PENDING';
    if (delivery_status !== 'FAILED' && RANKS[delivery_status] < RANKS[before]) faults.push(`${message_id}: ${before}, then ${delivery_status}`);
    if (delivery_status === 'FAILED' && RANKS[before] >= RANKS.DELIVERED) faults.push(`${message_id}: ${before}, then FAILED`);
    if (delivery_status !== 'FAILED') highest.set(message_id, delivery_status);
  }
  return faults;
}

/** `events` of one answer of a session, `stored`: its assistant messages, in order. */
export function faultsOfAnswer(events, stored) {
  const faults = [];
  const all = (type) => events.filter((one) => one.type === type);
  if (all('message.start').length !== 1) faults.push(`it began ${all('message.start').length} times`);
  if (all('message.done').length !== 1) faults.push(`it ended ${all('message.done').length} times`);
  if (events.at(-1)?.type !== 'message.done') faults.push('something came after the end');
  const failed = all('message.done')[0]?.status === 'failed';
  if (failed !== all('message.error').length > 0) faults.push('it failed without an error, or the other way round');
  for (const { toolId } of all('tool.start')) {
    const results = all('tool.result').filter((one) => one.toolId === toolId).length;
    if (results !== 1) faults.push(`${toolId} has ${results} results`);
  }
  if (all('tool.result').length !== all('tool.start').length) faults.push('a result without a call');
  const told = all('message.delta').map((one) => one.text).join('');
  const kept = stored.flatMap((one) => one.parts).filter((part) => part.type === 'text').map((part) => part.content.text).join('');
  if (told !== kept) faults.push(`told ${JSON.stringify(told)}, kept ${JSON.stringify(kept)}`);
  return faults;
}

/** A request to a model, in the words of Anthropic or of OpenAI; `said`: what the person has said, in order. */
export function faultsOfPrompt(request, said) {
  const faults = [];
  const turns = request.messages.filter((one) => one.role !== 'system').map(turnOf);
  const texts = turns.filter((one) => one.role === 'user').flatMap((one) => one.texts);
  // What was said twice in a row may be one message with both in it.
  if (texts.join('\n').replaceAll(/\n+/g, '\n') !== said.join('\n')) faults.push(`it was told ${JSON.stringify(texts)}, not ${JSON.stringify(said)}`);
  turns.forEach((turn, i) => {
    const next = turns.slice(i + 1);
    const until = next.findIndex((one) => one.role === 'assistant' || one.texts.length > 0);
    const answers = next.slice(0, until < 0 ? next.length : until + 1).flatMap((one) => one.results);
    for (const id of turn.calls) {
      const count = answers.filter((answer) => answer === id).length;
      if (count !== 1) faults.push(`the call ${id} has ${count} results behind it`);
    }
    if (i > 0 && turn.role === turns[i - 1].role) faults.push(`two of the role ${turn.role} follow each other`);
  });
  const calls = turns.flatMap((turn) => turn.calls);
  const results = turns.flatMap((turn) => turn.results);
  if (new Set(calls).size !== calls.length) faults.push('two calls have one id');
  for (const id of results) if (!calls.includes(id)) faults.push(`the result ${id} belongs to no call`);
  return faults;
}

/** What one message says, calls and answers, whichever dialect it is in. */
function turnOf({ role, content, tool_calls: calls = [], tool_call_id: result }) {
  const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? []);
  const of = (type) => blocks.filter((block) => block.type === type);
  return {
    // In the one dialect each result is a message, in the other all of them are part of one by the user.
    role: result ? `result ${result}` : role,
    texts: result ? [] : of('text').map((block) => block.text),
    calls: [...of('tool_use').map((block) => block.id), ...calls.map((call) => call.id)],
    results: [...of('tool_result').map((block) => block.tool_use_id), ...(result ? [result] : [])],
  };
}
