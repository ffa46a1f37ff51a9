// What the tables and the page as a whole do: sorting, hints that a box goes on, light and dark, and renewal.
(() => {
  // -- tables that are sorted by their heads ---------------------------------------------------------
  const UNITS = { k: 1e3, M: 1e6, G: 1e9, "%": 1 };
  const number = (words) => {
    const found = words.replace(/−/g, "-").replace(/,/g, "").match(/^[≈\s]*(<\s*)?([+-]?\d*\.?\d+(?:e[+-]?\d+)?)\s*([kMG%])?/);
    return found ? parseFloat(found[2]) * (UNITS[found[3]] || 1) - (found[1] ? 1e-9 : 0) : null;
  };
  const cellOf = (row, place) => row.cells[place].textContent.trim();
  const sorted = (body, place, numeric, down) => {
    const rows = [...body.rows].map((row, k) => ({ row, k, said: cellOf(row, place) }));
    const empty = (said) => said === "" || said === "–";
    rows.sort((one, other) => {
      if (empty(one.said) || empty(other.said)) return empty(one.said) - empty(other.said) || one.k - other.k;
      const by = numeric ? (number(one.said) ?? Infinity) - (number(other.said) ?? Infinity) : one.said.localeCompare(other.said, "en", { numeric: true });
      return (down ? -by : by) || one.k - other.k;
    });
    body.append(...rows.map((one) => one.row));
  };
  for (const table of document.querySelectorAll("table.sorts")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    if (body.rows.length < 2) continue;
    table.classList.add("sortable");
    heads.forEach((head, place) => {
      if (head.classList.contains("plot")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("n"), before = head.getAttribute("aria-sort");
        const down = before ? before === "ascending" : numeric;
        for (const one of heads) one.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sorted(body, place, numeric, down);
      });
    });
  }

  // -- a box that goes on to the right fades out there ----------------------------------------------
  const fade = (box) => box.classList.toggle("goes-on", box.scrollWidth - box.clientWidth - Math.abs(box.scrollLeft) > 2);
  const boxes = [...document.querySelectorAll(".wide")];
  const watch = new ResizeObserver((entries) => entries.forEach((entry) => fade(entry.target)));
  for (const box of boxes) {
    watch.observe(box);
    box.addEventListener("scroll", () => fade(box), { passive: true });
  }

  // -- light and dark -------------------------------------------------------------------------------
  const kept = (key, value) => {
    try {
      const name = `harness ${key} ${location.pathname}`;
      if (value === undefined) return JSON.parse(sessionStorage.getItem(name));
      sessionStorage.setItem(name, JSON.stringify(value));
    } catch { /* a browser may keep nothing for files */ }
    return null;
  };
  const root = document.documentElement, theme = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = kept("theme");
  if (chosen) root.style.colorScheme = chosen;
  if (theme) {
    theme.hidden = false;
    theme.addEventListener("click", () => {
      const now = root.style.colorScheme || (dark.matches ? "dark" : "light");
      root.style.colorScheme = now === "dark" ? "light" : "dark";
      kept("theme", root.style.colorScheme);
    });
  }

  // -- where the reader was, over a renewal ---------------------------------------------------------
  // The page may have grown meanwhile, so that the place is told from the part that it is in.
  const details = [...document.querySelectorAll("main details")];
  const nameOf = (one) => (one.closest("figure")?.querySelector("b").textContent || "") + one.querySelector("summary").textContent;
  const parts = () => [...document.querySelectorAll("main > section")];
  addEventListener("pagehide", () => {
    const part = parts().findLast((one) => one.getBoundingClientRect().top <= 1);
    const cards = document.getElementById("cards");
    kept("place", {
      part: part ? part.id : null,
      by: part ? -part.getBoundingClientRect().top : scrollY,
      cards: cards ? cards.children.length : 0,
      open: details.filter((one) => one.open).map(nameOf),
    });
  });
  const [entry] = performance.getEntriesByType("navigation");
  const place = entry && entry.type === "reload" ? kept("place") : null;
  if (place) {
    history.scrollRestoration = "manual";
    for (const one of details) if (place.open.includes(nameOf(one))) one.open = true;
    const more = document.getElementById("more"), cards = document.getElementById("cards");
    while (more && !more.hidden && cards.children.length < place.cards) more.click();
    const part = place.part && document.getElementById(place.part);
    const to = () => scrollTo({ top: place.by + (part ? part.getBoundingClientRect().top + scrollY : 0), behavior: "instant" });
    to();
    addEventListener("load", () => { to(); requestAnimationFrame(to); });
  }

  // -- renewal while a run goes on: never under the reader's hands -----------------------------------
  const seconds = +root.dataset.refresh;
  if (seconds) {
    const busy = () => document.querySelector("dialog[open]") || document.activeElement?.matches("input, select") || String(getSelection());
    const renew = () => (busy() ? setTimeout(renew, 1000) : location.reload());
    setTimeout(renew, 1000 * seconds);
  }
})();
