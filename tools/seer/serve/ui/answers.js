// One turn of the conversation on the page: the prompt, and a card for each answer with its text and its numbers.

// The conversation scrolls along with what is written, unless the reader has scrolled up.
function followEnd(change) {
  const box = byId('conversation');
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  change();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function showTurn(prompt, documentName) {
  const said = make('div', {class: 'said'});
  if (documentName) said.append(make('p', {class: 'hint'}, `Document: ${documentName}`));
  if (prompt) said.append(make('p', {class: 'text'}, prompt));
  const answers = make('div', {class: 'answers'});
  byId('conversation').append(make('section', {class: 'turn', 'aria-label': 'Prompt and answers'}, said, answers));
  byId('conversation').scrollTop = byId('conversation').scrollHeight;
  return answers;
}

const NUMBERS = [
  ['Speed', (t) => (t.tokens_per_second === null ? '–' : `${t.tokens_per_second.toFixed(1)} tokens/s`)],
  ['First token after', (t) => (t.first_token_ms === null ? '–' : showMs(t.first_token_ms))],
  ['Density', (t) => `${showShare(t.density)} of blocks`],
  ['Decode density', (t) => (t.sparse_decode === 'dense' ? null : `${showShare(t.decode_density)} of blocks`)],
  ['Prompt', (t, usage) => plural(usage.prompt_tokens, 'token')],
  ['Cached of these', (t) => showCount(t.cached_tokens)],
  ['Answer', (t, usage) => plural(usage.completion_tokens, 'token')],
];

// An answer that is being written. aria-busy keeps screen readers from its text until it is whole.
class Card {
  constructor(answers, title) {
    this.heading = make('h2', {}, title);
    this.body = make('p', {class: 'text'});
    this.note = make('p', {class: 'hint'}, 'Waiting for the first token …');
    this.numbers = make('dl', {class: 'numbers'});
    this.mapButton = make('button', {type: 'button', hidden: ''}, 'Block map');
    this.live = make('div', {'aria-live': 'polite', 'aria-busy': 'true'}, this.body);
    this.element = make('article', {class: 'answer', 'aria-label': title}, this.heading, this.live, this.note,
                        this.numbers, this.mapButton);
    followEnd(() => answers.append(this.element));
  }

  get text() {
    return this.body.textContent;
  }

  addText(piece) {
    followEnd(() => {
      this.note.textContent = 'Writing …';
      this.body.append(piece);
    });
  }

  addReasoning(piece) {
    followEnd(() => {
      if (!this.reasoning) {
        this.reasoning = make('p', {class: 'text'});
        this.live.before(make('details', {class: 'reasoning', open: ''}, make('summary', {}, 'Reasoning'),
                              this.reasoning));
      }
      this.note.textContent = 'Reasoning …';
      this.reasoning.append(piece);
    });
  }

  settle(note) {
    followEnd(() => {
      this.body.normalize();
      this.note.textContent = note;
      this.note.hidden = !note;
      this.live.removeAttribute('aria-busy');
    });
  }

  // Shows the numbers of an answer that has ended. The argument is the result of streamAnswer().
  finish({usage, timings, finish}) {
    followEnd(() => {
      this.heading.append(' ', make('small', {}, timings.sparse));
      for (const [name, text] of NUMBERS) {
        const shown = text(timings, usage);
        if (shown !== null) this.numbers.append(make('div', {}, make('dt', {}, name), make('dd', {}, shown)));
      }
    });
    this.settle(finish === 'length' ? 'The answer reached its longest length.' : '');
  }

  fail(message) {
    this.element.classList.add('failed');
    this.settle(message);
  }

  // Shows the button that opens the block map of the prompt in `body`, the request.
  offerMap(body) {
    followEnd(() => {
      this.mapButton.hidden = false;
    });
    this.mapButton.addEventListener('click', () => openMap(body));
  }
}
