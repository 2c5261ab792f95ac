// Requests to the server's API. The key is kept in this tab's session storage, which ends with the tab.

const KEY_NAME = 'seer-api-key';

// An error that the server reports, with the server's message.
class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
  }
}

// Session storage is missing if the browser forbids it; the key is then kept in memory.
const key = {
  value: '',
  get() {
    try {
      return sessionStorage.getItem(KEY_NAME) || this.value;
    } catch {
      return this.value;
    }
  },
  set(value) {
    this.value = value;
    try {
      sessionStorage.setItem(KEY_NAME, value);
    } catch {
      // then the key is kept in memory only
    }
  },
};

async function errorOf(response) {
  let error = {message: `the server answered ${response.status} ${response.statusText}`};
  try {
    error = (await response.json()).error || error;
  } catch {
    // the answer does not come from the API, but for instance from a proxy
  }
  return new ApiError(response.status, error);
}

// Returns the response, whose body has not been read. Throws ApiError, or what fetch throws. `path` is relative to the
// page, which a proxy may have put below another address.
async function ask(path, body, signal) {
  const headers = {};
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  const request = {headers, signal, cache: 'no-store', credentials: 'omit'};
  if (body !== undefined) {
    headers['Content-Type'] = 'application/json';
    request.method = 'POST';
    request.body = JSON.stringify(body);
  }
  const response = await fetch(path, request);
  if (!response.ok) throw await errorOf(response);
  return response;
}

const getModel = async (signal) => (await (await ask('v1/models', undefined, signal)).json()).data[0];

const getBlockMap = async (body, signal) => (await ask('block_map', body, signal)).json();

// Yields the data of each event of a stream, as text.
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const events = (waiting + value).split('\n\n');
    waiting = events.pop();
    for (const event of events) if (event.startsWith('data: ')) yield event.slice('data: '.length);
  }
}

// Asks for an answer and calls on.text(piece), on.reasoning(piece) as they come. Returns {usage, timings, finish}.
// Throws ApiError for an error in mid-stream too.
async function streamAnswer(path, body, signal, on) {
  const result = {usage: null, timings: null, finish: null};
  const asked = {...body, stream: true, stream_options: {include_usage: true}, timings: true};
  for await (const data of eventsOf(await ask(path, asked, signal))) {
    if (data === '[DONE]') return result;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(200, event.error);
    if (event.usage) result.usage = event.usage;
    for (const choice of event.choices) {
      const delta = choice.delta || {content: choice.text};
      if (delta.reasoning_content) on.reasoning(delta.reasoning_content);
      if (delta.content) on.text(delta.content);
      if (choice.finish_reason) result.finish = choice.finish_reason;
      if (choice.timings) result.timings = choice.timings;
    }
  }
  throw new Error('the answer broke off');
}
