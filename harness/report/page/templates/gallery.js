"use strict";
// The rows of a page. Everything that is shown is set as text, never as markup.
(() => {
  const holder = document.getElementById("gallery-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const { voices, texts, sources, thumbs, rows, pairs } = data;
  const PAGE = 30;
  const $ = (id) => document.getElementById(id);
  const grid = $("cards"), count = $("count"), more = $("more"), dialog = $("row"), pairNote = $("pair-note");
  const controls = { q: $("q"), sort: $("sort"), source: $("source"), best: $("best"), a: $("voice-a"), b: $("voice-b") };
  const address = (row) => "#row-" + encodeURIComponent(row.id);
  const numbers = new Map(rows.map((row, k) => [address(row), k]));
  let shown = 0, found = [], opener = null;

  const make = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined) continue;
      if (name === "text") node.textContent = value;
      else node.setAttribute(name, value);
    }
    for (const child of children) if (child) node.append(child);
    return node;
  };
  const figure = (value, digits = 3) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));
  const signed = (value, digits = 3) => (value === null ? "–" : (value < 0 ? "−" : "+") + figure(Math.abs(value), digits));
  const colour = (k) => (k < 8 ? `var(--voice-${k})` : "var(--voice-more)");
  const text = (k) => texts[k];
  const gap = (row) => {
    const a = row.c[+controls.a.value], b = row.c[+controls.b.value];
    return a === null || b === null || a === undefined || b === undefined ? null : a - b;
  };
  const best = (row) => {
    let top = -1;
    row.c.forEach((value, k) => { if (value !== null && (top < 0 || value > row.c[top])) top = k; });
    return top;
  };

  // -- what is shown, and in which order -----------------------------------------------------------
  const lowered = rows.map((row) => {
    const said = row.w.flat().map((one) => texts[one[0]]);
    return [row.id, texts[row.p], ...said].join("\n").toLowerCase();
  });
  const missing = (value) => (value === null || value === undefined ? Infinity : value);
  const orders = {
    row: () => 0,
    worst: (row) => missing(row.c[+controls.a.value]),
    best: (row) => missing(row.c[+controls.a.value] === null ? null : -row.c[+controls.a.value]),
    gained: (row) => missing(gap(row) === null ? null : -gap(row)),
    lost: (row) => missing(gap(row)),
    moved: (row) => missing(gap(row) === null ? null : -Math.abs(gap(row))),
    disagreement: (row) => missing(row.d === null ? null : -row.d),
    near: (row) => missing(row.n === null ? null : -row.n),
  };
  const search = () => {
    const words = controls.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const source = controls.source ? controls.source.value : "", leader = controls.best ? controls.best.value : "";
    const key = orders[controls.sort.value] || orders.row;
    found = rows.map((_, k) => k).filter((k) =>
      words.every((word) => lowered[k].includes(word)) &&
      (source === "" || String(rows[k].s) === source) &&
      (leader === "" || String(best(rows[k])) === leader));
    const keys = new Map(found.map((k) => [k, key(rows[k])]));
    found.sort((one, other) => keys.get(one) - keys.get(other) || one - other);
    grid.replaceChildren();
    shown = 0;
    extend();
    count.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    tellPair();
  };
  const extend = () => {
    const part = found.slice(shown, shown + PAGE);
    grid.append(...part.map(card));
    shown += part.length;
    more.hidden = shown >= found.length;
  };
  const tellPair = () => {
    if (!pairNote) return;
    const a = +controls.a.value, b = +controls.b.value;
    const pair = pairs.find((one) => one.a === a && one.b === b), turned = pairs.find((one) => one.a === b && one.b === a);
    const told = pair || turned;
    if (a === b || !told) { pairNote.textContent = a === b ? "Choose two different ones to compare them." : ""; return; }
    const sign = pair ? 1 : -1, ends = told.low === null ? "" :
      ` (${signed(sign * (pair ? told.low : told.high), 4)} … ${signed(sign * (pair ? told.high : told.low), 4)})`;
    const won = pair ? told.won : told.lost;
    pairNote.textContent = `${voices[a]} − ${voices[b]}: ${signed(sign * told.mean, 4)}${ends} over all rows; ` +
      `${voices[a]} is higher on ${Math.round(100 * won)} % of them.`;
  };

  // -- a card --------------------------------------------------------------------------------------
  const picture = (row, eager) => {
    if (row.i === null) return make("div", { class: "blank", text: "no image at hand" });
    return make("img", { src: thumbs[row.i], alt: "", decoding: "async", loading: eager ? "eager" : "lazy" });
  };
  const strip = (row) => {
    const track = make("div", { class: "strip", "aria-hidden": "true" });
    row.c.map((value, k) => [value, k]).reverse().forEach(([value, k]) => {
      if (value === null) return;
      const dot = make("i");
      dot.style.left = `${100 * Math.min(1, Math.max(0, value))}%`;
      dot.style.background = colour(k);
      track.append(dot);
    });
    return track;
  };
  const card = (k) => {
    const row = rows[k], a = +controls.a.value, change = gap(row);
    const score = make("span", { class: "score" }, make("b", { text: figure(row.c[a] ?? null) }), make("span", { class: "who", text: voices[a] || "" }));
    const foot = make("div", { class: "foot" }, score);
    if (change !== null && +controls.a.value !== +controls.b.value) {
      const kind = change >= 0 ? "up" : "down";
      foot.append(make("span", { class: `change ${kind}`, text: signed(change), title: `against ${voices[+controls.b.value]}` }));
    }
    const link = make("a", { class: "card", href: address(row) }, make("div", { class: "frame" }, picture(row, false)),
      make("p", { class: "prompt", dir: "auto", text: text(row.p) || row.id }), strip(row), foot);
    return make("li", {}, link);
  };

  // -- a row ---------------------------------------------------------------------------------------
  const statements = (list) => {
    if (!list.length) return make("p", { class: "note", text: "no training prompt to show" });
    return make("ol", { class: "said" }, ...list.map(([number, cosine]) => make("li", {},
      make("span", { class: "n", text: figure(cosine) }), make("span", { dir: "auto", class: "stranger", text: text(number) }))));
  };
  const voice = (row, k) => {
    const bar = make("div", { class: "bar" }, make("i"));
    bar.firstChild.style.width = `${100 * Math.min(1, Math.max(0, row.c[k] ?? 0))}%`;
    bar.firstChild.style.background = colour(k);
    return make("section", { class: "voice" },
      make("h4", {}, make("span", { text: voices[k] }), make("b", { text: figure(row.c[k], 4) })), bar, statements(row.w[k] || []));
  };
  const open = (k) => {
    const row = rows[k], facts = [`row ${row.id}`];
    if (row.s !== null) facts.push(`source ${sources[row.s]}`);
    facts.push(`held out by fold ${row.f}`);
    if (row.g > 1) facts.push(`in a group of ${row.g} rows`);
    if (row.d !== null) facts.push(`disagreement ${figure(row.d)}`);
    const order = row.c.map((_, j) => j).sort((one, other) => missing(row.c[other] === null ? -9 : row.c[other]) - missing(row.c[one] === null ? -9 : row.c[one]));
    $("row-picture").replaceChildren(picture(row, true));
    $("row-title").textContent = text(row.p) || row.id;
    $("row-facts").textContent = facts.join(" · ");
    $("row-voices").replaceChildren(...order.map((j) => voice(row, j)));
    const truth = [make("h3", { text: "Nearest training prompts to the truth" }), statements(row.t)];
    if (row.n !== null) truth.push(make("p", { class: "note", text: `The nearest has a cosine of ${figure(row.n)}; a fold is trained on none of ${data.threshold} or more.` }));
    $("row-truth").replaceChildren(...truth);
    const place = found.indexOf(k);
    $("row-place").textContent = place < 0 ? "" : `${place + 1} of ${found.length}`;
    $("previous").disabled = place <= 0;
    $("next").disabled = place < 0 || place + 1 >= found.length;
    dialog.dataset.row = String(k);
    if (!dialog.open) { opener = document.activeElement; dialog.showModal(); }
    dialog.scrollTop = 0;
  };
  const step = (by) => {
    const place = found.indexOf(+dialog.dataset.row) + by;
    if (place >= 0 && place < found.length) location.replace(address(rows[found[place]]));
  };
  const follow = () => {
    const hash = location.hash;
    if (!hash.startsWith("#row-")) { if (dialog.open) dialog.close(); return; }
    const k = numbers.get(hash) ?? numbers.get("#row-" + encodeURIComponent(decoded(hash.slice(5))));
    if (k === undefined) { count.textContent = "That row is not among the rows of this page."; $("rows").scrollIntoView(); return; }
    open(k);
  };
  const decoded = (part) => { try { return decodeURIComponent(part); } catch { return part; } };
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#row-")) history.replaceState(null, "", location.pathname + location.search + "#rows");
    const item = grid.children[found.indexOf(+dialog.dataset.row)], link = item && item.firstChild;
    (link || opener || grid).focus({ preventScroll: !link });
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => dialog.close());
  addEventListener("hashchange", follow);

  // -- the sample sheet ----------------------------------------------------------------------------
  const sheet = $("sheet");
  if (sheet) {
    const pictured = rows.map((row, k) => k).filter((k) => rows[k].i !== null);
    const wanted = Math.min(16, pictured.length), seen = new Set();
    for (let j = 0; j < wanted; j += 1) {
      const row = rows[pictured[Math.floor((j * pictured.length) / wanted)]];
      if (seen.has(row.i)) continue;
      seen.add(row.i);
      sheet.append(make("li", {}, make("a", { href: address(row), title: text(row.p) }, picture(row, false))));
      sheet.lastChild.firstChild.firstChild.alt = text(row.p) || row.id;
    }
    sheet.hidden = !seen.size;
  }

  let waiting = 0;
  controls.q.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 120); });
  for (const name of ["sort", "source", "best", "a", "b"]) if (controls[name]) controls[name].addEventListener("change", search);
  more.addEventListener("click", () => {
    const before = shown;
    extend();
    const first = grid.children[before];
    if (first) first.firstChild.focus({ preventScroll: true });
  });
  document.getElementById("filters").hidden = false;
  search();
  follow();
})();
(() => {
  const button = document.getElementById("theme");
  if (!button) return;
  button.hidden = false;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  button.addEventListener("click", () => {
    const root = document.documentElement, now = root.style.colorScheme || (dark.matches ? "dark" : "light");
    root.style.colorScheme = now === "dark" ? "light" : "dark";
  });
})();
