"use strict";
(() => {
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const filters = document.getElementById("filters");
  const tip = document.getElementById("tip");
  const plots = document.querySelector(".plots");
  const table = document.querySelector("#comparison table");
  const heads = all("th", table).map((th) => th.textContent);
  const rows = all("tbody tr", table);

  // Filtering is a rule of style: thousands of marks change at once.
  const rule = document.head.appendChild(document.createElement("style"));
  function filter() {
    const chosen = all("select", filters).filter((s) => s.name !== "plot" && s.value).map((s) => s.value);
    rule.textContent = chosen.map((c) => `.f.p:not(.${c}),.f.err:not(.${c}),tr.f:not(.${c}){display:none}`).join("") +
      chosen.map((c) => (c[0] === "s" ? `li.f:not(.${c}),.f.step{display:none}` : `.f.step:not(.${c}){display:none}`)).join("");
    const shown = rows.filter((row) => chosen.every((c) => row.classList.contains(c))).length;
    document.getElementById("shown").textContent = `${shown} of ${rows.length} shown`;
    const plot = filters.elements.plot.value;
    plots.classList.toggle("one", plot !== "");
    all("figure", plots).forEach((figure) => figure.classList.toggle("chosen", figure.id === plot));
  }
  filters.hidden = false;
  filters.addEventListener("change", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filter();

  // A point shows its row of the table.
  let lit = [];
  function show(point) {
    hide();
    const row = document.getElementById(`row${point.dataset.row}`);
    const list = document.createElement("dl");
    Array.from(row.cells).forEach((cell, i) => {
      if (!cell.textContent) return;
      const [name, value] = [document.createElement("dt"), document.createElement("dd")];
      name.textContent = heads[i];
      value.textContent = cell.textContent;
      list.append(name, value);
    });
    tip.replaceChildren(list);
    tip.hidden = false;
    const box = point.getBoundingClientRect();
    const left = box.right + 12 + tip.offsetWidth > innerWidth ? box.left - 12 - tip.offsetWidth : box.right + 12;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(box.top, innerHeight - tip.offsetHeight - 4))}px`;
    lit = [row, ...all(`.p[data-row="${point.dataset.row}"]`)];
    lit.forEach((element) => element.classList.add("lit"));
  }
  function hide() {
    tip.hidden = true;
    lit.forEach((element) => element.classList.remove("lit"));
    lit = [];
  }
  const point = (event) => event.target.closest?.(".p[data-row]");
  // The tip replaces the browser's own, which would come on top of it.
  plots.addEventListener("mouseover", (event) => {
    const at = point(event);
    if (!at) return;
    const title = at.querySelector("title");
    if (title) {
      at.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    show(at);
  });
  plots.addEventListener("mouseout", (event) => point(event) && hide());
  plots.addEventListener("focusin", (event) => point(event) && show(point(event)));
  plots.addEventListener("focusout", hide);
  plots.addEventListener("click", (event) => {
    const at = point(event);
    if (at) document.getElementById(`row${at.dataset.row}`).scrollIntoView({ block: "center" });
  });

  // One stop per plot; the arrows go from point to point, from left to right.
  all("svg", plots).forEach((svg) => {
    const points = all(".p[data-row]", svg);
    points.sort((a, b) => a.getBBox().x - b.getBBox().x || a.getBBox().y - b.getBBox().y);
    points.forEach((p, i) => p.setAttribute("tabindex", i === 0 ? "0" : "-1"));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      const visible = points.filter((p) => getComputedStyle(p).display !== "none");
      const next = visible[visible.indexOf(document.activeElement) + step];
      if (!next) return;
      points.forEach((p) => p.setAttribute("tabindex", p === next ? "0" : "-1"));
      next.focus();
    });
  });

  // Columns sort by numbers where all cells are some, else as text; what is empty comes last.
  all("table").forEach((table) => {
    const body = table.tBodies[0];
    const value = (cell) => (cell.classList.contains("n") ? parseFloat(cell.textContent.replace(/[≥,\s]/g, "")) : cell.textContent);
    all("th", table).forEach((th, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = th.textContent;
      th.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = th.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
        th.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
        const keyed = Array.from(body.rows, (row) => [value(row.cells[column]), row]);
        const empty = (v) => v === "" || Number.isNaN(v);
        keyed.sort(([a], [b]) => empty(a) - empty(b) || down * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en")));
        body.append(...keyed.map(([, row]) => row));
      });
    });
  });
  addEventListener("beforeprint", () => all("details").forEach((d) => (d.open = true)));
})();
