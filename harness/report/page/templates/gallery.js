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
  const NAMES = ["q", "sort", "a", "b", "source", "best", "fold", "amin", "amax", "dmin", "dmax", "one"];
  const controls = Object.fromEntries(NAMES.map((name) => [name, $(`by-${name}`)]).filter(([, control]) => control));
  const address = (row) => "#row-" + encodeURIComponent(row.id);
  const numbers = new Map(rows.map((row, k) => [address(row), k]));
  let shown = 0, found = [], hidden = new Map(), opener = null;

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
  const figure = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
  const signed = (value, digits = 3) => (value === null ? "–" : (value < 0 ? "−" : "+") + figure(Math.abs(value), digits));
  const colour = (k) => (data.colours[k] < 8 ? `var(--voice-${data.colours[k]})` : "var(--voice-more)");
  const dot = (k) => {
    const mark = make("i", { class: "dot" });
    mark.style.background = colour(k);
    return mark;
  };
  const text = (k) => texts[k];
  const A = () => +controls.a.value, B = () => +controls.b.value;
  const apart = (row, one, other) => {
    const a = row.c[one], b = row.c[other];
    return a === null || b === null || a === undefined || b === undefined ? null : a - b;
  };
  const gap = (row) => apart(row, A(), B());
  const best = (row) => {
    let top = -1;
    row.c.forEach((value, k) => { if (value !== null && (top < 0 || value > row.c[top])) top = k; });
    return top;
  };

  // -- what is asked for, which the address keeps ----------------------------------------------------
  // Voices and sources stand in it by name: their numbers change as a run goes on.
  const named = { a: voices, b: voices, best: voices, source: sources };
  const usual = (control) => {
    if (control.type === "checkbox") return "";
    if (control.options) return ([...control.options].find((one) => one.defaultSelected) || control.options[0]).value;
    return "";
  };
  const valueOf = (control) => (control.type === "checkbox" ? (control.checked ? "1" : "") : control.value.trim());
  const put = (name, value) => {
    const control = controls[name];
    if (control.type === "checkbox") { control.checked = value === "1"; return; }
    control.value = value;
    if (control.options && control.selectedIndex < 0) control.value = usual(control);
  };
  const asked = () => {
    const told = new URLSearchParams();
    for (const [name, control] of Object.entries(controls)) {
      const value = valueOf(control);
      if (value !== usual(control)) told.set(name, named[name] ? named[name][+value] : value);
    }
    return told.toString();
  };
  const restore = (query) => {
    const told = new URLSearchParams(query);
    for (const [name, control] of Object.entries(controls)) {
      let value = told.get(name);
      if (value !== null && named[name]) value = named[name].includes(value) ? String(named[name].indexOf(value)) : null;
      put(name, value === null ? usual(control) : value);
    }
    if (["amin", "amax", "dmin", "dmax", "fold"].some((name) => controls[name] && valueOf(controls[name]) !== "")) $("more-filters").open = true;
  };
  const write = (anchor) => {
    const query = asked(), hash = anchor || query ? `#${anchor || "rows"}${query ? `?${query}` : ""}` : "";
    if (hash !== location.hash) history.replaceState(null, "", location.pathname + location.search + hash);
  };
  const decoded = (part) => { try { return decodeURIComponent(part); } catch { return part; } };
  const read = () => {
    const whole = location.hash, cut = whole.indexOf("?");
    const known = (hash) => numbers.get(hash) ?? numbers.get("#row-" + encodeURIComponent(decoded(hash.slice(5))));
    if (whole.startsWith("#row-") && known(whole) !== undefined) return { anchor: whole.slice(1), query: null, row: known(whole) };
    const hash = cut < 0 ? whole : whole.slice(0, cut);
    const row = hash.startsWith("#row-") ? known(hash) ?? null : undefined;
    return { anchor: hash.slice(1), query: cut < 0 ? null : whole.slice(cut + 1), row };
  };

  // -- what is shown, and in which order -----------------------------------------------------------
  const lowered = rows.map((row) => {
    const said = [...row.w.flat().map((one) => texts[one[0]]), ...(row.e || []).flat().map((one) => texts[one[1]])];
    return [row.id, texts[row.p], ...said].join("\n").toLowerCase();
  });
  const missing = (value) => (value === null || value === undefined ? Infinity : value);
  const turned = (value) => missing(value === null || value === undefined ? null : -value);
  const orders = {
    row: () => 0,
    worst: (row) => missing(row.c[A()]),
    best: (row) => turned(row.c[A()]),
    gained: (row) => turned(gap(row)),
    lost: (row) => missing(gap(row)),
    moved: (row) => (gap(row) === null ? Infinity : -Math.abs(gap(row))),
    disagreement: (row) => turned(row.d),
    near: (row) => turned(row.n),
  };
  const bound = (name, otherwise) => {
    const value = controls[name] ? parseFloat(controls[name].value.replace("−", "-").replace(",", ".")) : NaN;
    return Number.isNaN(value) ? otherwise : value;
  };
  const within = (value, low, high) =>
    (low === -Infinity && high === Infinity) || (value !== null && value !== undefined && value >= low - 1e-9 && value <= high + 1e-9);
  const chosen = (name) => (controls[name] ? controls[name].value : "");
  const search = () => {
    const words = controls.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const source = chosen("source"), leader = chosen("best"), fold = chosen("fold");
    const key = orders[controls.sort.value] || orders.row;
    const ends = [bound("amin", -Infinity), bound("amax", Infinity), bound("dmin", -Infinity), bound("dmax", Infinity)];
    found = rows.map((_, k) => k).filter((k) =>
      words.every((word) => lowered[k].includes(word)) &&
      (source === "" || String(rows[k].s) === source) &&
      (leader === "" || String(best(rows[k])) === leader) &&
      (fold === "" || String(rows[k].f) === fold) &&
      within(rows[k].c[A()], ends[0], ends[1]) && within(gap(rows[k]), ends[2], ends[3]));
    const keys = new Map(found.map((k) => [k, key(rows[k])]));
    found.sort((one, other) => (keys.get(one) === keys.get(other) ? 0 : keys.get(one) - keys.get(other)) || one - other);
    const told = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    hidden = new Map();
    if (controls.one && controls.one.checked) foldGroups();
    count.textContent = hidden.size ? `${told}, a card for each of ${found.length.toLocaleString("en")} groups` : told;
    $("save").disabled = !found.length;
    grid.replaceChildren();
    shown = 0;
    extend();
    tellPair();
  };
  // Of each group the row that comes first, which keeps the others at hand.
  const foldGroups = () => {
    const leads = new Map();
    for (const k of found) {
      if (leads.has(rows[k].h)) hidden.get(leads.get(rows[k].h)).push(k);
      else { leads.set(rows[k].h, k); hidden.set(k, []); }
    }
    found = [...leads.values()];
  };
  const unfold = (k, item) => {
    const others = hidden.get(k), place = found.indexOf(k);
    hidden.set(k, []);
    found.splice(place + 1, 0, ...others);
    shown += others.length;
    const items = others.map(card);
    item.after(...items);
    item.querySelector(".others").remove();
    items[0].firstChild.focus();
  };
  const extend = () => {
    const part = found.slice(shown, shown + PAGE);
    grid.append(...part.map(card));
    shown += part.length;
    more.hidden = shown >= found.length;
  };
  const tellPair = () => {
    const a = A(), b = B();
    const pair = pairs.find((one) => one.a === a && one.b === b), other = pairs.find((one) => one.a === b && one.b === a);
    const told = pair || other;
    if (a === b || !told) { pairNote.textContent = a === b && voices.length > 1 ? "Choose two different ones to compare them." : ""; return; }
    const sign = pair ? 1 : -1, ends = told.low === null ? "" :
      ` (${signed(sign * (pair ? told.low : told.high), 4)} … ${signed(sign * (pair ? told.high : told.low), 4)})`;
    const won = pair ? told.won : told.lost;
    pairNote.textContent = `${voices[a]} − ${voices[b]}: ${signed(sign * told.mean, 4)}${ends} over all rows; ` +
      `${voices[a]} is higher on ${Math.round(100 * won)} % of them.`;
  };

  // -- a file of the rows ----------------------------------------------------------------------------
  // A spreadsheet takes a text that begins so for a formula; one mark before it says that it is none.
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const safe = /^\s*[=+\-@\t\r]/.test(value) ? `'${value}` : value;
    return /[",\r\n']/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const table = () => {
    const ranked = rows.some((row) => row.rank) ? voices.map((_, k) => k) : [];
    const head = ["id", "prompt", "source", "fold", "group", ...voices, "disagreement", "nearest_training_prompt", ...ranked.map((k) => `rank ${voices[k]}`)];
    const lines = found.map((k) => {
      const row = rows[k];
      return [row.id, text(row.p), row.s === null ? null : sources[row.s], row.f, row.h, ...row.c, row.d, row.n, ...ranked.map((k) => (row.rank ? row.rank[k] : null))];
    });
    return [head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
  };
  $("save").addEventListener("click", () => {
    // The mark of UTF-8 at the beginning is for Excel.
    const href = URL.createObjectURL(new Blob(["\ufeff", table()], { type: "text/csv;charset=utf-8" }));
    const name = document.title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60);
    make("a", { href, download: `${name || "run"}-rows.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10000);
  });

  // -- a card --------------------------------------------------------------------------------------
  const picture = (row, eager) => {
    if (row.i === null) return make("div", { class: "blank", text: "no image at hand" });
    return make("img", { src: thumbs[row.i], alt: "", decoding: "async", loading: eager ? "eager" : "lazy" });
  };
  const values = rows.flatMap((row) => row.c).filter((value) => value !== null);
  const low = Math.floor(10 * values.reduce((one, other) => Math.min(one, other), 1) + 1e-6) / 10;
  const high = Math.max(Math.ceil(10 * values.reduce((one, other) => Math.max(one, other), 0) - 1e-6) / 10, low + 0.1);
  const alike = new Set(data.colours).size < voices.length;
  const at = (value) => `${(100 * (value - low)) / (high - low)}%`;
  const strip = (row) => {
    const track = make("span", { class: "track" });
    for (let tick = Math.round(low * 10); tick <= Math.round(high * 10); tick += 1) {
      const line = make("s");
      line.style.left = at(tick / 10);
      track.append(line);
    }
    row.c.forEach((value, k) => {
      if (value === null || (alike && k !== A() && k !== B())) return;
      const mark = make("i", { class: k === A() ? "is-a" : k === B() ? "is-b" : null });
      mark.style.left = at(value);
      mark.style.background = colour(k);
      track.append(mark);
    });
    return make("span", { class: "strip", "aria-hidden": "true" }, make("small", { text: low.toFixed(1).replace("-", "−") }), track, make("small", { text: high.toFixed(1) }));
  };
  const score = (row, k) => make("span", { class: "score" }, dot(k), make("b", { text: figure(row.c[k]) }), make("span", { class: "who", text: voices[k] || "" }));
  const card = (k) => {
    const row = rows[k], change = A() === B() ? null : gap(row);
    const foot = make("span", { class: "foot" }, score(row, A()));
    if (change !== null) foot.append(score(row, B()), make("span", { class: `change ${change >= 0 ? "up" : "down"}`, text: signed(change), title: `${voices[A()]} − ${voices[B()]}` }));
    const link = make("a", { class: "card", href: address(row) }, make("div", { class: "frame" }, picture(row, false)),
      make("p", { class: "prompt", dir: "auto", text: text(row.p) || row.id }), strip(row), foot);
    const item = make("li", {}, link), others = (hidden.get(k) || []).length;
    if (others) {
      const button = make("button", { type: "button", class: "others", text: `+${others} more`, "aria-label": `Show ${others} more of this group` });
      button.addEventListener("click", () => unfold(k, item));
      item.append(button);
    }
    return item;
  };

  // -- a row ---------------------------------------------------------------------------------------
  const statements = (list) => {
    if (!list.length) return make("p", { class: "note", text: "no training prompt to show" });
    return make("ol", { class: "said" }, ...list.map(([number, cosine]) => make("li", {},
      make("span", { class: "n", text: figure(cosine) }), make("span", { dir: "auto", class: "stranger", text: text(number) }))));
  };
  const words = (list) => make("ol", { class: "said own" }, ...list.map(([kind, number, score]) => make("li", {},
    make("span", { class: "n", text: score === null ? "" : figure(score) }),
    make("span", {}, make("em", { text: `${kind} ` }), make("span", { dir: "auto", class: "stranger", text: text(number) })))));
  const voice = (row, k) => {
    const bar = make("div", { class: "bar" }, make("i"));
    bar.firstChild.style.width = `${100 * Math.min(1, Math.max(0, row.c[k] ?? 0))}%`;
    bar.firstChild.style.background = colour(k);
    const role = k === A() ? "A" : k === B() ? "B" : "", behind = k === A() ? null : apart(row, k, A());
    const rank = row.rank ? row.rank[k] : null, own = row.e ? row.e[k] : [];
    return make("section", { class: "voice" }, make("h4", {}, dot(k), make("span", { text: voices[k] }), role && make("em", { text: role }),
      behind !== null && make("small", { text: `${signed(behind, 4)} to A` }), make("b", { text: figure(row.c[k], 4) })), bar,
      own.length > 0 && words(own), own.length > 0 && make("p", { class: "note", text: "Nearest training prompts to what it predicts:" }), statements(row.w[k] || []),
      rank !== null && make("p", { class: "note", text: `The true prompt is number ${rank.toLocaleString("en")} of the run's by this cosine.` }));
  };
  // A small picture is not blown up, and one that lies beside the page can be opened alone.
  const large = (row) => {
    const image = picture(row, true);
    if (row.i === null) return image;
    image.alt = text(row.p) || row.id;
    const fit = () => { image.style.maxWidth = `min(100%, ${Math.round(1.5 * image.naturalWidth)}px)`; };
    image.addEventListener("load", fit);
    if (image.complete && image.naturalWidth) fit();
    return thumbs[row.i].startsWith("data:") ? image : make("a", { href: thumbs[row.i], target: "_blank", rel: "noopener" }, image);
  };
  const open = (k) => {
    const row = rows[k], facts = [`row ${row.id}`];
    if (row.s !== null) facts.push(`source ${sources[row.s]}`);
    facts.push(`held out by fold ${row.f}`);
    if (row.g > 1) facts.push(`in a group of ${row.g} rows`);
    if (row.d !== null) facts.push(`disagreement ${figure(row.d)}`);
    $("row-picture").replaceChildren(large(row));
    $("row-title").textContent = text(row.p) || row.id;
    $("row-facts").textContent = facts.join(" · ");
    $("row-gap").textContent = A() === B() || gap(row) === null ? "" : `A − B, ${voices[A()]} − ${voices[B()]}: ${signed(gap(row), 4)}`;
    $("row-voices").replaceChildren(...voices.map((_, j) => voice(row, j)));
    const truth = [make("h3", { text: "Nearest training prompts to the truth" }), statements(row.t)];
    if (row.n !== null) truth.push(make("p", { class: "note", text: `The nearest has a cosine of ${figure(row.n)}; a fold is trained on none of ${data.threshold} or more.` }));
    $("row-truth").replaceChildren(...truth);
    const place = found.indexOf(k);
    $("row-place").textContent = place < 0 ? "" : `${place + 1} of ${found.length}`;
    $("previous").disabled = place <= 0;
    $("next").disabled = place < 0 || place + 1 >= found.length;
    dialog.dataset.row = String(k);
    if (!dialog.open) { opener = document.activeElement; dialog.showModal(); }
    if ($("row-title").scrollHeight > $("row-title").clientHeight + 1) $("row-title").tabIndex = 0;
    else $("row-title").removeAttribute("tabindex");
    dialog.scrollTop = 0;
  };
  const step = (by) => {
    const place = found.indexOf(+dialog.dataset.row) + by;
    if (place < 0 || place >= found.length) return;
    write(address(rows[found[place]]).slice(1));
    open(found[place]);
  };
  const follow = () => {
    const { anchor, query, row } = read();
    if (query !== null) { restore(query); search(); }
    write(anchor);
    if (row === undefined) {
      if (dialog.open) dialog.close();
      const part = query !== null && anchor && $(anchor);
      if (part) part.scrollIntoView();
      return;
    }
    if (row === null) { count.textContent = "That row is not among the rows of this page."; $("rows").scrollIntoView(); return; }
    open(row);
  };
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#row-")) write("rows");
    const place = found.indexOf(+dialog.dataset.row);
    while (shown <= place) extend();
    const link = place < 0 ? null : grid.children[place].firstChild;
    (link || opener || grid).focus({ preventScroll: !link });
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  // Not only within the dialog: a button that can no longer be pressed has lost the focus.
  addEventListener("keydown", (event) => {
    if (!dialog.open || event.altKey || event.ctrlKey || event.metaKey) return;
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
  const again = () => { search(); write(location.hash.startsWith("#row-") ? "rows" : read().anchor); };
  for (const control of Object.values(controls)) {
    const typed = control.matches("input:not([type=checkbox])");
    control.addEventListener(typed ? "input" : "change", () => {
      clearTimeout(waiting);
      if (typed) waiting = setTimeout(again, 120);
      else again();
    });
  }
  $("reset").addEventListener("click", () => { restore(""); again(); });
  more.addEventListener("click", () => {
    const before = shown;
    extend();
    const first = grid.children[before];
    if (first) first.firstChild.focus({ preventScroll: true });
  });
  document.getElementById("filters").hidden = false;
  restore("");
  if (read().query === null) search();
  follow();
})();
