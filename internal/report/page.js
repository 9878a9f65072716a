
'use strict';
const D = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
for (const t of D.tasks) { // what goes without saying
  const a = t.a ||= [];
  for (const x of a) {
    x.n ||= 1;
    x.k ||= 'first';
    x.st ||= t.st;
    if (a.length === 1) Object.assign(x, { usd: t.usd, why: t.why });
  }
  if (!t.f && a.length && !['queued', 'running'].includes(t.st)) t.f = a[a.length - 1].e;
}

// el makes an element. What tasks say becomes text nodes, never markup.
function el(tag, props, ...kids) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props || {})) k in e ? e[k] = v : e.setAttribute(k, v);
  e.append(...kids.filter(k => k !== null && k !== undefined && k !== ''));
  return e;
}

// A text is a string, or [its beginning, bytes of the whole].
const str = t => Array.isArray(t) ? t[0] : t || '';
const word = i => i ? str(D.words[i - 1]) : '';
const title = t => str(t.n) || line(t) || t.id;
const line = t => prompt(t).trim().split('\n')[0].slice(0, 300);
// heading is the name with the prompt's first line, or that alone.
const heading = t => [el('bdi', {}, title(t).slice(0, 300)), str(t.n) && line(t) ? el('bdi', { className: 'dim' }, line(t)) : null];
const prompt = t => t.a.length ? str(t.a[0].p) : '';

const plural = (n, what) => n.toLocaleString() + ' ' + what + (n === 1 ? '' : 's');
const usd = v => !v ? '$0' : '$' + (v >= 100 ? v.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 }) : v.toFixed(v >= 1 ? 2 : 4));
// aligned is usd in a column: its point stands below those of the others, whether two digits follow it or four.
const aligned = v => usd(v) + (v >= 1 ? '\u2007\u2007' : '');
const two = n => String(n).padStart(2, '0');
function dur(ms) {
  const s = ms / 1000;
  if (s < 1) return Math.round(ms) + 'ms';
  if (s < 60) return s.toFixed(1) + 's';
  if (s < 3600) return Math.floor(s / 60) + 'm' + two(Math.floor(s % 60)) + 's';
  if (s < 2 * 86400) return Math.floor(s / 3600) + 'h' + two(Math.floor(s / 60 % 60)) + 'm';
  return Math.floor(s / 86400).toLocaleString() + 'd' + two(Math.floor(s / 3600 % 24)) + 'h';
}
// share is n of all in percent; a part is neither nothing nor all.
function share(n, all) {
  const p = Math.round(100 * n / all);
  return (n && !p ? '< 1' : n < all && p === 100 ? '> 99' : p) + ' %';
}
const many = n => n >= 1e9 ? (n / 1e9).toFixed(1) + 'G' : n >= 1e6 ? (n / 1e6).toFixed(1) + 'M' : n >= 1e3 ? (n / 1e3).toFixed(1) + 'k' : String(n);
const at = ms => new Date(D.base + ms);
const format = o => new Intl.DateTimeFormat(undefined, o);
// Dates have a year where there are several: of the first and the last of what ran, and now.
const years = new Set([D.now, ...[D.parts[0], D.parts.at(-1)].flatMap(p => p ? [D.base + p[0], D.base + p[1]] : [])].map(t => new Date(t).getFullYear()));
document.body.classList.toggle('years', years.size > 1);
const date = { day: 'numeric', month: 'short', year: years.size > 1 ? 'numeric' : undefined };
const days = format(date), minutes = format({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const seconds = format({ hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const full = format({ dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' }), short = format({ ...date, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const state = st => el('span', { className: 'st ' + st }, st);

// Totals.
function totals() {
  const T = D.totals, n = st => (T.statuses.find(c => c.st === st) || { tasks: 0 }).tasks;
  const ran = D.parts.length ? [D.parts[0][0], D.parts[D.parts.length - 1][1]] : null;
  document.title = 'cctask report: ' + plural(T.tasks, 'task');
  $('about').append([
    plural(T.tasks, 'task') + (D.more ? ' (the newest; --limit left out older ones)' : ''),
    ran && short.formatRange(at(ran[0]), at(ran[1])), D.selection, 'as of ' + full.format(new Date(D.now)),
  ].filter(Boolean).join(' · '));
  const over = T.statuses.filter(c => c.st !== 'queued' && c.st !== 'running'), sum = of => over.reduce((sum, c) => sum + c[of], 0);
  const ended = sum('tasks'), U = T.usage;
  const tile = (name, value, more) => $('tiles').append(el('div', {}, el('dt', {}, name), el('dd', {}, value, el('small', {}, more))));
  tile('Completed', ended ? share(n('completed'), ended) : '–', `${n('completed').toLocaleString()} of ${ended.toLocaleString()} ended`);
  tile('Cost', usd(T.usd), (T.uncertain ? 'at least; ' : '') + (ended ? usd(sum('usd') / ended) + ' a task that ended' : 'none has ended'));
  tile('Time of claude', dur(T.ms), ran ? `in ${dur(ran[1] - ran[0])} of the clock` : 'nothing ran');
  tile('Attempts', T.attempts.toLocaleString(), T.lanes ? `at most ${T.lanes} at once` : '');
  tile('Turns', T.turns.toLocaleString(), T.attempts ? `${(T.turns / T.attempts).toFixed(1)} an attempt` : '');
  tile('Tokens written', many(U.output_tokens), `${many(U.input_tokens + U.cache_creation_input_tokens + U.cache_read_input_tokens)} read, ${many(U.cache_read_input_tokens)} cached`);
  $('share').setAttribute('aria-label', T.statuses.map(c => c.tasks + ' ' + c.st).join(', '));
  for (const c of T.statuses) {
    const part = el('i', { className: c.st });
    part.style.flexGrow = c.tasks;
    $('share').append(part);
    $('chips').append(el('button', {
      className: c.st, 'aria-pressed': 'false', onclick: e => {
        want.st.has(c.st) ? want.st.delete(c.st) : want.st.add(c.st);
        e.currentTarget.setAttribute('aria-pressed', want.st.has(c.st));
        list();
      },
    }, el('span', { className: 'dot' }), c.st, el('b', {}, c.tasks.toLocaleString()), el('span', { className: 'dim' }, c.usd ? usd(c.usd) : null)));
  }
}

// The axis: parts of time in which something ran, with short gaps between.
const axis = (() => {
  const busy = D.parts.reduce((sum, p) => sum + Math.max(p[1] - p[0], 1), 0), n = D.parts.length;
  const gap = n > 1 ? busy * Math.min(0.025, 0.25 / (n - 1)) : 0, all = busy + gap * (n - 1);
  let x = 0;
  const parts = D.parts.map(([from, to]) => {
    const p = { from, to, x: x / all, w: Math.max(to - from, 1) / all };
    x += Math.max(to - from, 1) + gap;
    return p;
  });
  return { parts, gap: gap / all, scale: all };
})();
// xOf is where a moment is on the axis, from 0 to 1; timeOf is the way back.
function xOf(t) {
  const p = axis.parts.findLast(p => p.from <= t) || axis.parts[0];
  return p.x + Math.min(Math.max(t - p.from, 0), p.to - p.from) / axis.scale;
}
function timeOf(x) {
  const p = axis.parts.findLast(p => p.x <= x) || axis.parts[0];
  return Math.min(p.from + (x - p.x) * axis.scale, p.to);
}

const bars = []; // in the order of their starts
let zoom = 1, sums = [];
const percent = x => (100 * x).toFixed(4) + '%';

function timeline() {
  D.tasks.forEach((t, i) => t.a.forEach(a => a.s && bars.push({ i, a })));
  $('time').hidden = !bars.length;
  if (!bars.length) return;
  bars.sort((p, q) => p.a.s - q.a.s);
  const lanes = D.totals.lanes, lane = lanes <= 16 ? 24 : Math.max(4, Math.floor(420 / lanes));
  for (const [k, v] of [['lanes', lanes], ['lane', lane + 'px'], ['gap', (lane > 12 ? 3 : 1) + 'px']]) $('plot').style.setProperty('--' + k, v);
  bars.forEach((b, n) => {
    const x = xOf(b.a.s);
    b.w = xOf(b.a.e) - x;
    b.x = x;
    b.el = el('button', { className: 'bar slim ' + b.a.st, tabIndex: n ? -1 : 0 });
    b.el.dataset.n = n;
    Object.assign(b.el.style, { left: `min(${percent(x)}, calc(100% - 3px))`, width: percent(b.w), top: (b.a.la || 0) * lane + 'px' });
  });
  $('lanes').append(...bars.map(b => b.el));
  links(lanes * lane, b => (b.a.la || 0) * lane + lane / 2);
  cost();
  const of = e => e.target.dataset && bars[e.target.dataset.n];
  $('lanes').onclick = e => of(e) && show(of(e).i);
  $('lanes').onkeydown = e => of(e) && walk(e, Number(e.target.dataset.n));
  $('lanes').addEventListener('focusin', e => of(e) && e.target.setAttribute('aria-label', say(of(e))));
  $('plot').onpointermove = e => hover(of(e), e.clientX);
  $('plot').onpointerleave = () => hover(null, null);
  $('scroll').onscroll = () => requestAnimationFrame(ticks);
  $('scroll').addEventListener('wheel', e => {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    zoomTo(zoom * Math.exp(-e.deltaY / 200), e.clientX);
  }, { passive: false });
  $('in').onclick = () => zoomTo(zoom * 2);
  $('out').onclick = () => zoomTo(zoom / 2);
  $('fit').onclick = () => zoomTo(1);
  new ResizeObserver(layout).observe($('scroll'));
}

// links draws a line from the end of a task to the beginning of each that waited for it.
function links(height, y) {
  const first = [], last = [];
  for (const b of bars) {
    first[b.i] ||= b;
    last[b.i] = b;
  }
  let d = '';
  D.tasks.forEach((t, i) => (t.af || []).forEach(j => {
    const to = first[i], from = last[j];
    d += `M${(1000 * (from.x + from.w)).toFixed(2)} ${y(from)}L${(1000 * to.x).toFixed(2)} ${y(to)}`;
  }));
  if (d) $('lanes').append(drawing(height, ['links', d]));
}

const say = b => {
  const t = D.tasks[b.i];
  return [title(t).slice(0, 100), t.a.length > 1 ? `attempt ${b.a.n} of ${t.a.length}` : '', b.a.st + (b.a.why ? ' (' + b.a.why + ')' : ''), dur(b.a.e - b.a.s), b.a.usd ? usd(b.a.usd) : ''].filter(Boolean).join(', ');
};

// walk goes from bar to bar with the arrow keys.
function walk(e, n) {
  const lane = n => bars[n].a.la || 0;
  let next = -1;
  if (e.key === 'ArrowRight') next = n + 1;
  if (e.key === 'ArrowLeft') next = n - 1;
  if (e.key === 'Home') next = 0;
  if (e.key === 'End') next = bars.length - 1;
  if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
    const to = lane(n) + (e.key === 'ArrowDown' ? 1 : -1);
    bars.forEach((b, i) => lane(i) === to && (next < 0 || Math.abs(b.a.s - bars[n].a.s) < Math.abs(bars[next].a.s - bars[n].a.s)) && (next = i));
  }
  if (e.key === '+' || e.key === '-') zoomTo(e.key === '+' ? zoom * 2 : zoom / 2);
  if (!bars[next]) return;
  e.preventDefault();
  bars[n].el.tabIndex = -1;
  bars[next].el.tabIndex = 0;
  bars[next].el.focus();
}

// hover says what is below the pointer, and marks the task's other attempts.
let marked = [];
function hover(b, clientX) {
  marked.forEach(b => b.el.classList.remove('same'));
  marked = b ? bars.filter(o => o.i === b.i) : [];
  marked.forEach(b => b.el.classList.add('same'));
  $('cursor').hidden = clientX === null;
  if (clientX === null) return void ($('hover').textContent = '');
  const box = $('plot').getBoundingClientRect(), x = Math.min(Math.max((clientX - box.left) / box.width, 0), 1), t = timeOf(x);
  $('cursor').style.left = percent(x);
  const spent = sums.findLast(s => s[0] <= t);
  $('hover').textContent = short.format(at(t)) + (b ? ' · ' + say(b) : ` · ${bars.filter(b => b.a.s <= t && t < b.a.e).length} running, ${usd(spent ? spent[1] : 0)} so far`);
}

function zoomTo(to, clientX) {
  const box = $('scroll'), was = zoom, x = clientX === undefined ? box.clientWidth / 2 : clientX - box.getBoundingClientRect().left;
  zoom = Math.min(Math.max(to, 1), 512);
  const left = (box.scrollLeft + x) * zoom / was - x;
  layout();
  box.scrollLeft = left;
  ticks();
}

function layout() {
  $('plot').style.width = zoom * 100 + '%';
  $('plot').style.setProperty('--height', $('plot').offsetHeight + 'px');
  $('out').disabled = $('fit').disabled = zoom <= 1;
  ticks();
}

// busyDays are those on which several parts begin: their dates alone would repeat.
const busyDays = new Set(axis.parts.map(p => days.format(at(p.from))).filter((d, i, all) => all.indexOf(d) !== i));

const steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 28 * 86400, 91 * 86400].map(s => s * 1000);
// ticks draws the axis as far as it is in sight, in the viewer's time zone.
function ticks() {
  const px = $('plot').offsetWidth, box = $('scroll'), seen = [(box.scrollLeft - 300) / px, (box.scrollLeft + box.clientWidth + 300) / px];
  const step = steps.find(s => s / axis.scale * px >= 110) || steps[steps.length - 1];
  const found = [];
  let last = '', free = -Infinity;
  axis.parts.forEach((p, i) => {
    if (p.x + p.w + axis.gap < seen[0] || p.x > seen[1]) return;
    if (i < axis.parts.length - 1) found.push(place(el('b', { title: dur(axis.parts[i + 1].from - p.to) + ' in which nothing ran' }), p.x + p.w, axis.gap));
    const offset = at(p.from).getTimezoneOffset() * 60000 - D.base;
    let t = Math.max(p.from, timeOf(Math.max(seen[0], p.x)));
    for (t = p.x >= seen[0] ? p.from : Math.ceil((t - offset) / step) * step + offset; t <= p.to && xOf(t) <= seen[1]; t = (Math.floor((t - offset) / step) + 1) * step + offset) {
      const x = xOf(t), today = days.format(at(t));
      if (x * px < free) continue;
      const timed = step < 86400000 || today === last || t === p.from && busyDays.has(today);
      const label = [today === last ? '' : today, timed ? (step < 60000 ? seconds : minutes).format(at(t)) : ''].filter(Boolean).join(' ');
      const wide = label.length * 6.5 + 6, late = x * px + wide > px; // near the end it stands before its line
      if (late && x * px - wide < free) continue;
      found.push(place(el('span', { className: late ? 'late' : '' }, label), x), place(el('i'), x));
      last = today;
      free = x * px + (late ? 0 : wide) + 8;
    }
  });
  $('ticks').replaceChildren(...found);
  labels(px, seen);
}

// labels writes names into the bars in sight that have room for one: text in all
// of many thousand would make each zoom slow.
function labels(px, seen) {
  if (D.totals.lanes > 28) return;
  for (const b of bars) {
    const wide = b.w * px >= 44;
    if (b.wide === wide || wide && (b.x > seen[1] || b.x + b.w < seen[0])) continue;
    b.wide = wide;
    b.el.classList.toggle('slim', !wide);
    b.el.textContent = wide ? (b.a.n > 1 ? '↻' + b.a.n + ' ' : '') + title(D.tasks[b.i]).slice(0, 80) : '';
  }
}
function place(e, x, w) {
  e.style.left = percent(x);
  if (w !== undefined) e.style.width = percent(w);
  return e;
}

function cost() {
  let sum = 0;
  sums = bars.filter(b => b.a.usd).map(b => [b.a.e, b.a.usd]).sort((p, q) => p[0] - q[0]).map(([t, v]) => [t, sum += v]);
  $('cost').hidden = $('cost-h').hidden = sums.length < 2; // one sum is no curve
  const box = $('cost'), y = v => (100 - 96 * v / (sum || 1)).toFixed(2);
  box.setAttribute('aria-label', `The cost rises to ${usd(sum)}`);
  let d = 'M0 100';
  for (const [t, v] of sums) d += `H${(1000 * xOf(t)).toFixed(2)}V${y(v)}`;
  box.append(drawing(100, ['area', d + 'H1000V100Z'], ['curve', d + 'H1000']), el('span', {}, usd(sum)));
}

// drawing has paths over the whole width, which is 1000, in a box so high.
function drawing(height, ...paths) {
  const ns = 'http://www.w3.org/2000/svg', svg = document.createElementNS(ns, 'svg');
  svg.setAttribute('viewBox', '0 0 1000 ' + height);
  svg.setAttribute('preserveAspectRatio', 'none');
  for (const [name, d] of paths) {
    const p = document.createElementNS(ns, 'path');
    p.setAttribute('class', name);
    p.setAttribute('d', d);
    svg.append(p);
  }
  return svg;
}

// The longest, and what did not complete.
function item(i, value, ...more) {
  const t = D.tasks[i];
  return el('li', { className: t.st }, el('button', { className: 'opens', onclick: () => show(i) }, el('i', { className: 'dot' }), el('span', { className: 't' }, ...heading(t), ...more), el('span', { className: 'v' }, value)));
}
function lists() {
  const most = D.longest.length ? D.tasks[D.longest[0]].ms : 0;
  const long = i => {
    const t = D.tasks[i], meter = el('i', { className: 'meter' }), li = item(i, dur(t.ms) + (t.usd ? ' · ' + usd(t.usd) : ''));
    meter.style.width = `calc(${percent(t.ms / most)} - 12px)`;
    li.append(meter);
    $('long').append(li);
  };
  D.longest.forEach(long);
  if (!most) $('long').append(el('li', { className: 'dim' }, 'Nothing ran.'));
  if (!D.ends.length) $('ends').append(el('p', { className: 'dim' }, D.tasks.some(t => t.f) ? 'Every task that ended completed.' : 'Nothing has ended.'));
  D.ends.forEach(e => {
    const rows = e.tasks.slice(0, 3).map(i => item(i, D.tasks[i].ms ? dur(D.tasks[i].ms) : '', el('span', { className: 'm' }, str(D.tasks[i].m) || D.tasks[i].st)));
    const all = e.tasks.length > 3 ? el('li', {}, el('button', { className: 'opens all', onclick: () => { reset(); want.why = e.why; list(); $('all-h').scrollIntoView(); } }, `All ${e.tasks.length.toLocaleString()} of them`)) : null;
    $('ends').append(el('div', { className: 'group' }, el('h3', {}, e.why.replaceAll('_', ' '), el('span', { className: 'dim' }, e.tasks.length.toLocaleString())), el('p', {}, e.hint), el('ul', { className: 'items' }, ...rows, all)));
  });
  // The shorter of two lists beside each other grows, or a hole would stay below it.
  const box = id => $(id).parentNode.getBoundingClientRect(), rest = D.tasks.map((t, i) => i).filter(i => D.tasks[i].ms && !D.longest.includes(i)).sort((i, j) => D.tasks[j].ms - D.tasks[i].ms);
  for (const i of rest.slice(0, 30)) {
    if (box('long').top !== box('ends').top || box('long').bottom + 40 > box('ends').bottom) break;
    long(i);
  }
}

// The table.
const started = t => { const a = t.a.find(a => a.s); return a ? a.s : 0; };
const columns = [
  ['status', 'Status', t => t.st, t => state(t.st)],
  ['task', 'Task', t => title(t).toLowerCase(), t => el('button', { className: 'opens' }, ...heading(t))],
  ['start', 'Started', started, t => started(t) ? short.format(at(started(t))) : ''],
  ['time', 'Time', t => t.ms || 0, t => t.ms ? dur(t.ms) : '', true],
  ['cost', 'Cost', t => t.usd || 0, t => t.usd ? aligned(t.usd) : '', true],
  ['turns', 'Turns', t => t.tu || 0, t => t.tu || '', true],
  ['tries', 'Attempts', t => t.a.length, t => t.a.length > 1 ? t.a.length : '', true],
];
const want = { st: new Set(), why: '', q: '' };
const pageRows = 200;
let found = [], rows = pageRows, sort = null, down = true;

function reset() {
  want.st.clear();
  want.why = want.q = $('find').value = '';
  for (const b of $('chips').children) b.setAttribute('aria-pressed', 'false');
}
const haystack = t => t.hay ||= [t.id, str(t.n), str(t.m), t.why, str(t.r), word(t.d), ...(t.l || []).map(word), ...t.a.map(a => str(a.p))].join('\n').toLowerCase();
function list() {
  found = D.tasks.map((t, i) => i).filter(i => {
    const t = D.tasks[i];
    return (!want.st.size || want.st.has(t.st)) && (!want.why || want.why === t.why) && (!want.q || haystack(t).includes(want.q));
  });
  if (sort) {
    const key = found.length ? new Map(found.map(i => [i, sort[2](D.tasks[i])])) : null;
    found.sort((i, j) => (key.get(i) < key.get(j) ? -1 : key.get(i) > key.get(j) ? 1 : 0) * (down ? -1 : 1) || i - j);
  }
  rows = pageRows;
  draw();
}
function draw() {
  $('table').tBodies[0].replaceChildren(...found.slice(0, rows).map(i => {
    const t = D.tasks[i];
    return el('tr', { onclick: () => show(i) }, ...columns.map(([name, , , cell, num]) => el('td', { className: 'c-' + name + (num ? ' num' : '') }, cell(t))));
  }));
  $('table').hidden = !found.length;
  $('more').hidden = found.length <= rows;
  $('clear').hidden = !want.st.size && !want.why && !want.q;
  $('shown').textContent = (found.length === D.tasks.length ? plural(found.length, 'task') : found.length.toLocaleString() + ' of ' + plural(D.tasks.length, 'task')) +
    (want.why ? ', ' + want.why.replaceAll('_', ' ') : '') + (found.length > rows ? ', the first ' + rows.toLocaleString() + ' shown' : '');
}
function table() {
  for (const col of columns) {
    const th = el('th', { className: 'c-' + col[0] + (col[4] ? ' num' : ''), scope: 'col' }, el('button', {
      onclick: () => {
        down = sort === col ? !down : col[0] !== 'status' && col[0] !== 'task';
        sort = col;
        for (const h of th.parentNode.children) h.removeAttribute('aria-sort');
        th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        list();
      },
    }, col[1]));
    $('table').tHead.rows[0].append(th);
  }
  let timer;
  $('find').oninput = () => { clearTimeout(timer); timer = setTimeout(() => { want.q = $('find').value.trim().toLowerCase(); list(); }, 120); };
  $('clear').onclick = () => { reset(); list(); };
  $('more').onclick = () => { rows += 5 * pageRows; draw(); };
  onbeforeprint = paper;
  onafterprint = () => { rows = onScreen; $('paper').replaceChildren(); draw(); };
  list();
}

// Paper has no button for more, and nothing to open: all rows are on it and, if they
// are wanted, prompts and answers.
let onScreen = rows;
function paper() {
  onScreen = rows;
  rows = Infinity;
  draw();
  if ($('texts').checked) $('paper').replaceChildren(...found.map(i => {
    const t = D.tasks[i];
    return el('article', {}, el('h2', {}, el('bdi', {}, title(t).slice(0, 300))), el('p', { className: 'dim' }, state(t.st), ' ' + t.id),
      ...t.a.flatMap(a => a.p ? block(a.n > 1 ? 'Prompt of attempt ' + a.n : 'Prompt', a.p, '') : []), ...block('Answer', t.r, `cctask status ${t.id} shows more of it.`));
  }));
}

// One task.
let open = -1;
function block(name, text, rest) {
  if (!text) return [];
  const cut = Array.isArray(text) ? el('p', { className: 'cut' }, `The page holds the first ${new TextEncoder().encode(text[0]).length.toLocaleString()} of ${text[1].toLocaleString()} bytes. ${rest}`) : null;
  return [el('h3', {}, name), el('pre', { dir: 'auto', tabIndex: 0 }, str(text) || '…'), cut];
}
function show(i) {
  const t = D.tasks[i], a = t.a, d = $('task'), facts = el('dl', { className: 'facts' });
  if (!t) return;
  open = i;
  const fact = (name, value) => value && facts.append(el('dt', {}, name), el('dd', {}, value));
  const began = started(t), order = found.indexOf(i);
  fact('Status', state(t.st));
  fact('Id', t.id);
  fact('Created', full.format(at(t.c)));
  fact('Started', began ? full.format(at(began)) + (began - t.c >= 1000 ? `, ${dur(began - t.c)} later` : '') : '');
  fact('Finished', t.f ? full.format(at(t.f)) : '');
  fact('Time', t.ms ? dur(t.ms) : '');
  fact('Cost', t.usd ? usd(t.usd) + (t.un ? ' (uncertain)' : '') + (t.tu ? ' in ' + plural(t.tu, 'turn') : '') : '');
  fact('Model', word(t.mo));
  fact('Directory', word(t.d));
  fact('Labels', (t.l || []).map(word).join(', '));
  const why = t.why ? el('p', { className: 'why ' + t.st }, el('b', {}, t.why.replaceAll('_', ' ')), str(t.m) ? ': ' + str(t.m) : '', el('br'), el('span', { className: 'dim' }, (D.ends.find(e => e.why === t.why) || {}).hint)) : null;
  const tries = a.length < 2 ? [] : [el('h3', {}, plural(a.length, 'attempt')), el('ol', { className: 'tries' }, ...a.map(a => el('li', {},
    el('div', {}, el('b', {}, `${a.n}. ${a.k}`), state(a.st), a.s ? el('span', { className: 'dim' }, full.format(at(a.s)) + ', ' + dur(a.e - a.s)) : null, a.usd ? el('span', { className: 'dim' }, usd(a.usd)) : null),
    str(a.m) ? el('p', { className: 'dim' }, str(a.m)) : null, a.n > 1 && a.p ? el('pre', { dir: 'auto' }, str(a.p)) : null)))];
  const step = (name, label, n) => el('button', { 'aria-label': label, title: label, disabled: order < 0 || found[order + n] === undefined, onclick: () => show(found[order + n]) }, name);
  const none = t.st === 'completed' ? 'The answer is empty.' : t.f ? 'It gave no answer.' : 'It has not ended yet.';
  const held = d.contains(document.activeElement) ? document.activeElement.title : '';
  d.replaceChildren(
    el('div', { className: 'top' }, el('h2', { id: 'task-h' }, el('bdi', {}, title(t))), step('↑', 'Previous task', -1), step('↓', 'Next task', 1), el('button', { 'aria-label': 'Close', title: 'Close', onclick: () => d.close() }, '✕')),
    el('div', { className: 'body' }, why, facts, ...tries, ...block('Prompt', a.length ? a[0].p : '', ''),
      ...(t.r ? block('Answer', t.r, `cctask status ${t.id} shows more of it.`) : [el('h3', {}, 'Answer'), el('p', { className: 'dim' }, none)])));
  if (!d.open) d.showModal();
  (d.querySelector(`.top [title="${held}"]:enabled`) || d.querySelector('.top [title=Close]')).focus();
  d.scrollTop = 0;
  if (location.hash.slice(1) !== t.id) history.replaceState(null, '', '#' + t.id);
}
function dialog() {
  const d = $('task');
  d.onclick = e => e.target === d && d.close();
  d.onclose = () => { open = -1; history.replaceState(null, '', '#'); };
  d.onkeydown = e => {
    const n = { j: 1, k: -1 }[e.key], to = found[found.indexOf(open) + n];
    if (n && to !== undefined) show(to);
  };
  const linked = () => { const i = D.tasks.findIndex(t => t.id === location.hash.slice(1)); if (i >= 0 && i !== open) show(i); };
  window.onhashchange = linked;
  linked();
}

if (D.tasks.length) {
  $('main').hidden = false;
  totals();
  timeline();
  lists();
  table();
  dialog();
} else {
  $('none').hidden = false;
  $('about').textContent = [D.selection, 'as of ' + full.format(new Date(D.now))].filter(Boolean).join(' · ');
}
$('foot').textContent = `Made by cctask ${D.version}. Times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}. ` +
  (D.textLimit ? `Texts are cut where they are longer than about ${D.textLimit.toLocaleString()} bytes. ` : '') + 'Nothing is loaded from anywhere.';
