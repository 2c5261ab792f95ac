// The document that a conversation is about: a text file, chosen or dropped.

const MOST_BYTES = 24 * 1024 * 1024;  // JSON makes text longer, and the server takes bodies of 32 MiB

const attached = {name: '', text: ''};

// Returns the text of a file. Throws an Error that says why the file cannot be used.
async function readText(file) {
  if (file.size > MOST_BYTES)
    throw new Error(`${file.name} has ${showCount(file.size / 1048576)} MiB: expected at most ${MOST_BYTES / 1048576}`);
  const bytes = await file.arrayBuffer();
  let text;
  try {
    text = new TextDecoder('utf-8', {fatal: true}).decode(bytes);
  } catch {
    throw new Error(`${file.name} is no text in UTF-8`);
  }
  if (text.includes('\0')) throw new Error(`${file.name} is no text: it has bytes of zero`);
  if (!text.trim()) throw new Error(`${file.name} is empty`);
  return text;
}

function showDocument(message) {
  byId('document-name').textContent = message;
  byId('remove-document').hidden = !attached.text;
  byId('document-choice').hidden = Boolean(attached.text);
}

async function attach(file) {
  try {
    attached.text = await readText(file);
    attached.name = file.name;
    showDocument(`${file.name}: ${plural(attached.text.length, 'character')}, put before your prompt`);
    byId('prompt').focus();
  } catch (error) {
    attached.text = attached.name = '';
    byId('file').value = '';
    showDocument(error.message);
  }
}

function detach() {
  attached.text = attached.name = '';
  byId('file').value = '';
  showDocument('');
}

const bringsFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes('Files');

function setUpDocument() {
  byId('file').addEventListener('change', () => {
    const [file] = byId('file').files;
    if (file) attach(file);
  });
  byId('remove-document').addEventListener('click', () => {
    detach();
    byId('file').focus();
  });
  // If a file were dropped on a part of the page that does not take files, the browser would show the file in place of
  // the page. So the whole page takes files.
  document.addEventListener('dragover', (event) => {
    if (!bringsFiles(event)) return;
    event.preventDefault();
    document.body.classList.add('dropping');
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) document.body.classList.remove('dropping');
  });
  document.addEventListener('drop', (event) => {
    document.body.classList.remove('dropping');
    if (!bringsFiles(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) attach(file);
  });
}
