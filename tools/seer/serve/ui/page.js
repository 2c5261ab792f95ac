// The page's form, and the state of the conversation.

const state = {
  model: null,
  turns: [],        // {prompt, answer} of a chat
  running: null,    // AbortController of the answers that are being written
};

// Rules that a request may name, each with the range of its value.
const RULES = [
  {name: 'threshold', value: 0.01, min: 0, max: 0.999999,
   hint: 'Keeps blocks whose gate score is above the value: a larger one keeps fewer.'},
  {name: 'nz_ratio', value: 0.1, min: 0.000001, max: 1, hint: 'Keeps this share of the prompt’s blocks.'},
  {name: 'nz_ratio_row', value: 0.1, min: 0.000001, max: 1, hint: 'Keeps this share of each row’s blocks.'},
];
const ruleOf = (choice) => RULES.find((rule) => rule.name === choice);

const isChat = () => byId('mode').value === 'chat';

// Returns the rule for a request, or undefined for the server's default.
function chosenRule() {
  const choice = byId('rule').value;
  if (choice === 'default') return undefined;
  if (choice === 'gates') return state.model.gates.sparse;
  return ruleOf(choice) ? `${choice}=${byId('rule-value').value}` : choice;
}

// Returns the sparse rule of "Ask both": the chosen rule, else the server's, else the gates' own. A dense one is skipped;
// undefined if all are dense.
function sparseOfBoth() {
  const {model} = state;
  return [chosenRule() || model.sparse, model.sparse, model.gates.sparse].find((rule) => rule !== 'dense');
}

function showRule() {
  const rule = ruleOf(byId('rule').value);
  const value = byId('rule-value');
  value.hidden = value.disabled = byId('rule-value-label').hidden = !rule;
  byId('rule-hint').textContent = rule ? rule.hint : '';
  if (rule) Object.assign(value, {min: rule.min, max: rule.max, value: rule.value});
}

function showMode() {
  byId('prompt-label').textContent = isChat() ? 'Message' : 'Text to continue';
  byId('clear').hidden = !isChat();
}

function setUpModel(model) {
  state.model = model;
  const gates = model.gates ? `gates with blocks of ${model.gates.block_size} tokens` : 'no gates: attention is dense';
  byId('model').textContent = `${model.id}, context of ${plural(model.max_model_len, 'token')}, ${gates}`;
  const options = [['default', `default: ${model.sparse}`]];
  if (model.gates) {
    if (model.gates.sparse !== model.sparse) options.push(['gates', `the gates’ own: ${model.gates.sparse}`]);
    if (model.sparse !== 'dense') options.push(['dense', 'dense']);
    for (const {name} of RULES) options.push([name, `${name}=…`]);
  }
  byId('rule').replaceChildren(...options.map(([value, text]) => make('option', {value}, text)));
  const chat = byId('mode').querySelector('[value=chat]');
  chat.disabled = !model.chat;
  if (!model.chat) chat.textContent = 'a message of a chat (the model has no template)';
  byId('mode').value = model.chat ? 'chat' : 'text';
  const both = byId('ask-both');
  both.disabled = !model.gates;
  byId('both-hint').hidden = Boolean(model.gates);
  byId('both-hint').textContent = model.gates ? '' : 'Without gates there is no sparse attention to compare with.';
  setUpMap(model);
  showRule();
  showMode();
}

// Returns [path, body] of the request that the form describes.
function request(prompt, settings) {
  const {text} = attached;
  if (!isChat())
    return ['v1/completions', {prompt: text && prompt ? `${text}\n\n${prompt}` : text || prompt, ...settings}];
  const said = [...state.turns, {prompt}];
  const messages = said.flatMap((turn, i) => {
    const content = i === 0 && text ? [text, turn.prompt].filter(Boolean).join('\n\n') : turn.prompt;
    const user = {role: 'user', content};
    return 'answer' in turn ? [user, {role: 'assistant', content: turn.answer}] : [user];
  });
  return ['v1/chat/completions', {messages, ...settings}];
}

function settingsOf() {
  const settings = {max_tokens: Number(byId('max-tokens').value)};
  if (byId('temperature').value !== '') settings.temperature = Number(byId('temperature').value);
  return settings;
}

// Writes one answer into its card. Returns its text, or nothing if there is none.
async function answer(answers, title, path, body) {
  const card = new Card(answers, title);
  try {
    const result = await streamAnswer(path, body, state.running.signal,
                                      {text: (piece) => card.addText(piece), reasoning: (piece) => card.addReasoning(piece)});
    card.finish(result);
    // A prompt that is shorter than a block has no map.
    const {gates} = state.model;
    if (result.timings.sparse !== 'dense' && result.usage.prompt_tokens >= gates.block_size) card.offerMap(body);
    announce(`${title}: finished, ${plural(result.usage.completion_tokens, 'token')}.`);
  } catch (error) {
    if (state.running.signal.aborted) {
      card.settle('Stopped. The server sends no numbers for an answer that is stopped.');
      announce('Stopped.');
    } else {
      card.fail(error.message);
      announce(`${title}: failed. ${error.message}`);
      if (error.status === 401) askForKey('The server did not take this key.');
    }
  }
  return card.text;
}

function setRunning(running) {
  state.running = running;
  byId('stop').disabled = !running;
  byId('send').disabled = byId('clear').disabled = Boolean(running);
  byId('ask-both').disabled = Boolean(running) || !state.model.gates;
}

// Asks for one answer, or with `both` for a dense one and then a sparse one. They do not run at the same time, because
// each would slow the other.
async function send(both) {
  if (state.running || !state.model) return;
  const prompt = byId('prompt').value;
  for (const field of byId('settings').querySelectorAll('input, select')) {
    if (field.checkValidity()) continue;
    byId('settings').open = true;
    field.reportValidity();
    return;
  }
  if (!prompt && !attached.text) {
    announce('Write something first, or choose a document.');
    byId('prompt').focus();
    return;
  }
  const rules = both ? [['Dense', 'dense'], ['Sparse', sparseOfBoth()]] : [['Answer', chosenRule()]];
  const settings = settingsOf();
  // Both draw the same random numbers, so they differ by the rule alone.
  if (both) settings.seed = Math.floor(Math.random() * 2 ** 31);
  const [path, body] = request(prompt, settings);
  const running = new AbortController();
  setRunning(running);
  byId('welcome').hidden = true;
  byId('prompt').value = '';
  const answers = showTurn(prompt, state.turns.length === 0 || !isChat() ? attached.name : '');
  let text = '';
  for (const [title, sparse] of rules) {
    if (running.signal.aborted) break;
    announce(`${title}: answering.`);
    text = await answer(answers, title, path, sparse === undefined ? body : {...body, sparse});
  }
  // A conversation goes on from its last answer. If there is none, the prompt can be sent again.
  if (isChat() && text) state.turns.push({prompt, answer: text});
  if (!text && !byId('prompt').value) byId('prompt').value = prompt;
  setRunning(null);
}

function stop() {
  if (state.running) state.running.abort();
}

function clear() {
  state.turns = [];
  for (const turn of byId('conversation').querySelectorAll('.turn')) turn.remove();
  byId('welcome').hidden = false;
  announce('A new conversation.');
  byId('prompt').focus();
}

function askForKey(message) {
  byId('change-key').hidden = false;
  byId('key-message').textContent = `${message} It is kept for this tab alone, until the tab is closed.`;
  byId('key').value = '';
  if (!byId('key-dialog').open) byId('key-dialog').showModal();
}

async function loadModel() {
  for (;;) {
    try {
      setUpModel(await getModel());
      announce('Ready.');
      byId('prompt').focus();
      return;
    } catch (error) {
      byId('model').textContent = error.status === 401 ? 'Waiting for the API key.' : error.message;
      if (error.status === 401) {
        askForKey(key.get() ? 'The server did not take this key.' : 'This server asks for a key.');
        return;
      }
      if (error.status !== 503) return;
      await new Promise((resolve) => setTimeout(resolve, 1000));  // the model is being loaded
    }
  }
}

function setUpForm() {
  byId('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    send(false);
  });
  byId('prompt').addEventListener('keydown', (event) => {
    // While an input method composes a word, Enter belongs to it.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send(false);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !document.querySelector('dialog[open]')) stop();
  });
  byId('ask-both').addEventListener('click', () => send(true));
  byId('stop').addEventListener('click', () => {
    stop();
    byId('prompt').focus();
  });
  byId('clear').addEventListener('click', clear);
  byId('rule').addEventListener('change', showRule);
  byId('mode').addEventListener('change', showMode);
  byId('change-key').addEventListener('click', () => askForKey('Another key for this server.'));
  byId('key-cancel').addEventListener('click', () => byId('key-dialog').close());
  byId('key-form').addEventListener('submit', (event) => {
    event.preventDefault();
    key.set(byId('key').value.trim());
    byId('key-dialog').close();
    loadModel();
  });
}

// On a wide screen the settings are next to the conversation, and open from the beginning.
byId('settings').open = matchMedia('(min-width: 60rem)').matches;
setUpForm();
setUpDocument();
setUpMapDialog();
loadModel();
