// The dialog that shows which blocks the gates kept for an answer's prompt.

const shownMap = {body: null, map: null, asking: null};

function redrawMap() {
  if (shownMap.map && byId('map-dialog').open) drawMap(byId('map-canvas'), shownMap.map, byId('map-show').value);
}

const headName = (map) => (map.head === null ? 'all heads' : `head ${map.head}`);

function describeMap(map) {
  const density = map.head === null ? map.layer_density : map.head_density;
  const blocks = map.cell_blocks === 1 ? 'a block' : `${map.cell_blocks} by ${map.cell_blocks} blocks`;
  byId('map-facts').textContent =
    `${plural(map.n_tokens, 'token')} in ${plural(map.n_blocks, 'block')} of ${map.block_size} tokens, ${map.sparse}. ` +
    `Layer ${map.layer}, ${headName(map)}: ${showShare(density)} kept; all layers: ${showShare(map.density)}.`;
  byId('map-note').textContent =
    `A block is ${map.block_size} tokens, and a cell is ${blocks}. A row shows the blocks of keys that one block of ` +
    'queries may attend to: those before it and its own.';
  byId('map-canvas').setAttribute('aria-label',
    `Map of layer ${map.layer}, ${headName(map)}: blocks of queries downwards, blocks of keys to the right; ` +
    `${showShare(density)} of the blocks are kept.`);
}

async function fetchMap() {
  if (shownMap.asking) shownMap.asking.abort();
  const asking = shownMap.asking = new AbortController();
  const layer = byId('map-layer'), head = byId('map-head').value;
  if (!layer.reportValidity()) return;
  const body = {...shownMap.body, layer: Number(layer.value || 0)};
  if (head !== 'all') body.head = Number(head);
  byId('map-facts').textContent = 'Computing the prompt again to see its blocks …';
  byId('map-dialog').setAttribute('aria-busy', 'true');
  try {
    shownMap.map = await getBlockMap(body, asking.signal);
    describeMap(shownMap.map);
    redrawMap();
  } catch (error) {
    if (asking.signal.aborted) return;
    byId('map-facts').textContent = `No map: ${error.message}`;
  }
  byId('map-dialog').removeAttribute('aria-busy');
}

// Opens the dialog. `body` is the request that was answered: it has the prompt and the rule.
function openMap(body) {
  shownMap.body = body;
  shownMap.map = null;
  const canvas = byId('map-canvas');
  canvas.width = canvas.height = 0;
  byId('map-note').textContent = '';
  byId('map-dialog').showModal();
  fetchMap();
}

function setUpMap(model) {
  byId('map-layer').max = model.n_layers - 1;
  const all = make('option', {value: 'all'}, 'all (mean)');
  const heads = Array.from({length: model.n_heads}, (_, i) => make('option', {value: i}, String(i)));
  byId('map-head').replaceChildren(all, ...heads);
}

function setUpMapDialog() {
  byId('map-layer').addEventListener('change', fetchMap);
  byId('map-head').addEventListener('change', fetchMap);
  byId('map-show').addEventListener('change', redrawMap);
  byId('map-close').addEventListener('click', () => byId('map-dialog').close());
  byId('map-dialog').addEventListener('close', () => shownMap.asking && shownMap.asking.abort());
  addEventListener('resize', redrawMap);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawMap);
}
