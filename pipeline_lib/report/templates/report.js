"use strict";
const byId = (id) => document.getElementById(id);

// The leaderboard: sorting, filtering, and the first rows only until asked for all.
{
  const FIRST = 25;
  const body = byId("board").tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, text: row.textContent.toLowerCase() }));
  let all = rows.length <= FIRST;

  const show = () => {
    const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const engine = byId("filter-engine").value, state = byId("filter-state").value;
    let found = 0;
    for (const { row, text } of rows) {
      const fits = (!engine || row.dataset.engine === engine)
        && (!state || row.dataset.state === state) && words.every((word) => text.includes(word));
      row.hidden = !fits || (!all && found >= FIRST);
      found += fits;
    }
    const shown = all ? found : Math.min(found, FIRST);
    const first = shown < found ? `, the first ${shown} shown` : "";
    byId("shown").textContent = found === rows.length ? `${found} trials${first}` : `${found} of ${rows.length} trials${first}`;
    byId("show-all").hidden = shown === found;
  };

  const sort = (column, down) => {
    const key = ({ row }) => row.cells[column].dataset.v;
    const numbers = rows.every((each) => !Number.isNaN(Number(key(each))));
    rows.sort((one, other) => {
      const a = key(one), b = key(other);
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numbers ? a - b : a.localeCompare(b);
      return down ? -order : order;
    });
    body.append(...rows.map(({ row }) => row));
    show();
  };

  for (const head of byId("board").tHead.rows[0].cells) {
    const button = head.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const down = now ? now === "ascending" : ["validation"].includes(button.textContent);
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(head.cellIndex, down);
    });
  }
  byId("filters").addEventListener("input", show);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("show-all").addEventListener("click", () => { all = true; show(); });
  show();
}

// The diagram's size.
{
  const inner = document.querySelector(".diagram > div");
  if (inner) {
    const fit = () => Math.min(inner.parentNode.clientWidth - 18, inner.dataset.width * 4 / 3);
    let width = fit();
    const set = (to) => { width = to; inner.style.width = `${to}px`; };
    set(width);
    for (const button of document.querySelectorAll("[data-zoom]")) {
      const factor = Number(button.dataset.zoom);
      button.addEventListener("click", () => set(factor ? Math.min(Math.max(width * factor, 80), 6000) : fit()));
    }
  }
}

// Charts: plotly.js is unpacked from the page; colours come from the style sheet.
(async () => {
  const packed = Uint8Array.from(atob(byId("plotly").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);

  const source = byId("figures").textContent;
  const plots = Array.from(document.querySelectorAll("[data-figure]"));
  const settings = { displayModeBar: false, responsive: true, scrollZoom: false };

  // Labels of an axis that would touch their neighbours are left out.
  const roomy = ({ xaxis, margin }, width) => {
    if (!xaxis?.tickvals || !xaxis.range || xaxis.tickangle) return {};
    const { tickvals, ticktext, range: [from, to], type } = xaxis;
    const length = width - (margin?.l ?? 64) - (margin?.r ?? 16);
    let free = -Infinity;
    const kept = tickvals.map((_, at) => at).filter((at) => {
      const value = type === "log" ? Math.log10(tickvals[at]) : tickvals[at];
      const middle = (value - from) / (to - from) * length;
      const half = ticktext[at].length * 3.6 + 3;
      if (middle - half < free) return false;
      free = middle + half;
      return true;
    });
    return { xaxis: { ...xaxis, tickvals: kept.map((at) => tickvals[at]), ticktext: kept.map((at) => ticktext[at]) } };
  };

  const painted = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const figures = JSON.parse(source.replace(/"@([a-z-]+)"/g, (_, name) => JSON.stringify(colour(name))));
    const axis = {
      gridcolor: colour("line"), zeroline: false, linecolor: colour("faint"), automargin: true,
      tickfont: { color: colour("muted"), size: 12 }, title: { font: { color: colour("muted"), size: 13 }, standoff: 8 },
    };
    const template = { layout: {
      font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink"), size: 13 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 64, r: 16, t: 12, b: 48 }, xaxis: axis, yaxis: axis, hovermode: "closest",
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("faint"), font: { color: colour("ink") }, align: "left" },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    } };
    return (plot, width) => {
      const { data, layout } = figures[plot.dataset.figure];
      return [data, { ...layout, ...roomy(layout, width ?? plot.clientWidth), template, width, autosize: !width }];
    };
  };

  // Paper has its own width, which no layout tells before it is printed.
  const paperWidth = (plot) => plot.closest(".pair, .grid") ? 320 : 660;
  const paint = (width = () => undefined) => {
    const figure = painted();
    // Anew: where the width changes, an updated plot keeps the old place of its legend.
    for (const plot of plots) Plotly.newPlot(plot, ...figure(plot, width(plot)), settings);
  };
  const figure = painted();
  for (const plot of plots) {
    Plotly.newPlot(plot, ...figure(plot), settings);
    await new Promise((resolve) => setTimeout(resolve));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint());
  addEventListener("beforeprint", () => { document.documentElement.dataset.print = ""; paint(paperWidth); });
  addEventListener("afterprint", () => { delete document.documentElement.dataset.print; paint(); });
  document.documentElement.dataset.charts = "drawn";
})();
