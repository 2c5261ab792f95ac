// Draws a block map on a canvas: a triangle of cells, its axes, and the scale of its colours.

const ROOM = {left: 58, right: 18, top: 8, axis: 44, bar: 46};  // pixels
const DARKEST_SCORE = 1e-4;  // scores span decades, so their shade is logarithmic

// The ramp of `seer inspect --maps`, from dark to light.
const HEAT = [[13, 8, 60], [72, 20, 110], [140, 41, 115], [200, 68, 90], [240, 115, 60], [252, 180, 80],
              [252, 250, 190]];

const isDark = () => matchMedia('(prefers-color-scheme: dark)').matches;

function mix(ramp, share) {
  const at = Math.min(Math.max(share, 0), 1) * (ramp.length - 1);
  const from = Math.min(Math.floor(at), ramp.length - 2);
  const part = (i) => Math.round(ramp[from][i] + (at - from) * (ramp[from + 1][i] - ramp[from][i]));
  return `rgb(${part(0)} ${part(1)} ${part(2)})`;
}

// The kinds of values that can be drawn. `share` gives a value's place on the scale, from 0 to 1, and `color` the colour
// there. `ends` are the texts at the ends of the scale.
const KINDS = {
  kept: {
    name: 'share of the blocks kept',
    ends: ['0%', '100%'],
    color: (share) => mix(isDark() ? [[44, 46, 56], [130, 175, 255]] : [[226, 228, 236], [28, 60, 130]], share),
    share: (value) => value,
  },
  score: {
    name: 'largest gate score (logarithmic)',
    ends: [`${DARKEST_SCORE} or less`, '1'],
    color: (share) => mix(HEAT, share),
    share: (value) => (value > 0 ? 1 - Math.log10(value) / Math.log10(DARKEST_SCORE) : 0),
  },
};

// Returns the block numbers at an axis: multiples of a round number, at most one in 64 pixels.
function ticks(nBlocks, pixels) {
  const least = (nBlocks * 64) / pixels;
  const decade = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  const step = [1, 2, 5, 10].map((n) => n * decade).find((n) => n >= least) || 1;
  return Array.from({length: Math.floor(nBlocks / step) + 1}, (_, i) => i * step);
}

function drawCells(pen, map, kind, area) {
  const {side, blocks, scale} = area;
  // Edges lie on whole pixels of the screen; otherwise lines of the background would show between cells.
  const pixel = (block) => Math.round((scale * side * Math.min(block, blocks)) / blocks) / scale;
  map[kind.field].forEach((row, i) => {
    const top = pixel(i * map.cell_blocks), bottom = pixel((i + 1) * map.cell_blocks);
    row.forEach((value, j) => {
      const left = pixel(j * map.cell_blocks), right = pixel((j + 1) * map.cell_blocks);
      pen.fillStyle = kind.color(kind.share(value));
      pen.fillRect(area.x + left, area.y + top, right - left, bottom - top);
    });
  });
}

function drawAxes(pen, map, area) {
  const {x, y, side, blocks} = area;
  pen.strokeStyle = pen.fillStyle = area.ink;
  pen.beginPath();
  pen.moveTo(x - 0.5, y);
  pen.lineTo(x - 0.5, y + side + 0.5);
  pen.lineTo(x + side, y + side + 0.5);
  for (const block of ticks(blocks, side)) {
    const at = Math.round((side * block) / blocks) + 0.5;
    pen.moveTo(x - 5, y + at);
    pen.lineTo(x, y + at);
    pen.moveTo(x + at, y + side);
    pen.lineTo(x + at, y + side + 5);
    pen.textAlign = 'right';
    pen.fillText(String(block), x - 8, y + Math.max(at, 6));
    pen.textAlign = 'center';
    pen.fillText(String(block), x + at, y + side + 14);
  }
  pen.stroke();
  pen.fillText('block of keys', x + side / 2, y + side + 31);
  pen.save();
  pen.translate(x - 46, y + side / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText('block of queries', 0, 0);
  pen.restore();
}

function drawScale(pen, kind, area) {
  const y = area.y + area.side + ROOM.axis;
  for (let i = 0; i < area.side; ++i) {
    pen.fillStyle = kind.color(i / (area.side - 1));
    pen.fillRect(area.x + i, y, 1.4, 10);
  }
  pen.fillStyle = area.ink;
  pen.textAlign = 'left';
  pen.fillText(kind.ends[0], area.x, y + 20);
  pen.textAlign = 'right';
  pen.fillText(kind.ends[1], area.x + area.side, y + 20);
  pen.textAlign = 'center';
  pen.fillText(kind.name, area.x + area.side / 2, y + (area.side < 330 ? 36 : 20));
}

// Draws `map`, an answer of /block_map, as large as the dialog and the window allow. `field` is 'kept' or 'score'.
function drawMap(canvas, map, field) {
  canvas.style.maxWidth = '';
  const high = innerHeight - ROOM.top - ROOM.axis - ROOM.bar - 300;  // 300: what stands above and below the canvas
  const side = Math.floor(Math.max(Math.min(canvas.clientWidth - ROOM.left - ROOM.right, Math.max(high, 260)), 120));
  const width = ROOM.left + side + ROOM.right;
  const height = ROOM.top + side + ROOM.axis + ROOM.bar;
  const scale = devicePixelRatio || 1;
  canvas.style.maxWidth = `${width}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const style = getComputedStyle(canvas);
  const pen = canvas.getContext('2d');
  pen.scale(scale, scale);
  pen.clearRect(0, 0, width, height);
  pen.font = `12px ${style.fontFamily}`;
  pen.textBaseline = 'middle';
  const area = {x: ROOM.left, y: ROOM.top, side, scale, blocks: map.n_blocks, ink: style.color};
  const kind = {...KINDS[field], field};
  drawCells(pen, map, kind, area);
  drawAxes(pen, map, area);
  drawScale(pen, kind, area);
}
