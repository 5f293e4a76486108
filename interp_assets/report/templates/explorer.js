"use strict";
(function () {
  const block = document.getElementById("explorer-data");
  if (!block) return;
  const data = JSON.parse(block.textContent);
  const MISSING = "–";
  const LABELS = {
    attention: "Attention",
    correlation: "Correlation (|Spearman|)",
    variance: "Target variance",
    mean: "Target mean expression",
    one_minus_dropout: "Target 1 - dropout",
  };
  const WHY = { l: "listed", r: "responds in the screen", a: "strong attention", d: "drawn at random" };
  const SIGNS = { "1": " (activates)", "-1": " (represses)", "2": " (both signs)" };
  const FREE = data.scores.map((score) => score[0]).filter((name) => name !== "attention");
  const byId = (name) => document.getElementById("explorer-" + name);
  const picks = { regulator: byId("regulator"), reference: byId("reference"), layer: byId("layer"), head: byId("head") };
  const search = byId("search");
  const table = byId("table");
  const body = table.tBodies[0];
  const pairs = data.regulators.reduce((sum, one) => sum + one.targets.length, 0);
  const order = { column: 5, rising: true };

  function codes(text) {
    const bytes = atob(text);
    return (at) => bytes.charCodeAt(2 * at) + 256 * bytes.charCodeAt(2 * at + 1);
  }

  // The codes are those of report/explorer_data.py.
  function number(code) {
    if (code === 0) return { text: MISSING, order: "" };
    if (code === 1) return { text: "0", order: 0 };
    if (code === 2) return { text: "beyond 1e10", order: 1e10 };
    const sign = (code - 3) % 2 ? "-" : "";
    const whole = Math.floor((code - 3) / 2);
    const digits = 100 + (whole % 900);
    const power = Math.floor(whole / 900) - 26;
    const exact = Number(sign + digits + "e" + (power - 2));
    const plain = power >= -4 && power <= 2;
    return { text: plain ? exact.toFixed(2 - power) : sign + (digits / 100).toFixed(2) + "e" + power, order: exact };
  }

  function make(tag, text, attributes) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    return element;
  }

  function fill(select, words) {
    select.replaceChildren(...words.map((text, at) => make("option", text, { value: at })));
  }

  function place(name, layer, head) {
    return data.scores.findIndex((score) => score[0] === name && score[1] === layer && score[2] === head);
  }

  const opened = new Map();
  function chosen() {
    const at = Number(picks.regulator.value);
    const own = data.regulators[at];
    if (!opened.has(at)) {
      const before = data.regulators.slice(0, at).reduce((sum, one) => sum + one.targets.length, 0);
      opened.set(at, { value: codes(own.value), rank: codes(own.rank), both: codes(own.both || own.rank), before: before });
    }
    const network = Number(picks.reference.value);
    const reference = data.references[network];
    const layer = Number(picks.layer.value);
    const head = Number(picks.head.value) - 1;
    const listed = new Map(own.listed[network][0].map((target, k) => [target, own.listed[network][1][k]]));
    const isTarget = (t) => (reference.outcome ? own.outcome[t] === 1 : listed.has(t));
    const numbers = opened.get(at);
    const ranks = reference.directed ? numbers.rank : numbers.both;
    return { own, numbers, reference, network, layer, head, isTarget, ranks, attention: place("attention", layer, head) };
  }

  function headWords(pick) {
    return pick.head < 0 ? "mean over heads" : "head " + pick.head;
  }

  function auroc(pick, name) {
    return pick.own.recovery[pick.network].auroc[name === "attention" ? pick.attention : place(name, -1, -1)];
  }

  // The words are those of report/explorer.py, which writes them for the default choice.
  function sentence(pick) {
    const found = pick.own.recovery[pick.network];
    const network = "the network “" + pick.reference.name + "”";
    if (auroc(pick, "attention") === null) {
      return pick.reference.outcome
        ? "Nothing to rank: the screen did not perturb " + pick.own.name + ", or its genes all answer alike."
        : "Nothing to rank: " + network + " lists no gene for " + pick.own.name + ", or every one.";
    }
    const named = pick.reference.outcome
      ? " genes that respond when " + pick.own.name + " is perturbed"
      : " genes that " + network + " lists for " + pick.own.name;
    const values = ["attention", ...FREE].map((name) => auroc(pick, name));
    const others = FREE.map((name, at) => SAID[name] + " " + values[at + 1].toFixed(3)).join("; ");
    const best = ["attention", ...FREE][values.indexOf(Math.max(...values))];
    return "In layer " + pick.layer + " (" + headWords(pick) + "), attention ranks the " + found.targets.toLocaleString("en") + named +
      ", among " + found.candidates.toLocaleString("en") + " candidates, at AUROC " + values[0].toFixed(3) + ". For comparison: " +
      others + ". Highest here: " + SAID[best] + ". Chance is 0.500." +
      (pick.reference.directed ? "" : " " + UNDIRECTED);
  }
  const UNDIRECTED = "This network states no direction: its ranks and AUROC are those of the mean of both directions.";
  const SAID = {
    attention: "attention",
    correlation: "correlation (|Spearman|)",
    variance: "target variance alone",
    mean: "target mean expression alone",
    one_minus_dropout: "target 1 - dropout alone",
  };

  function svg(tag, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function chart(pick) {
    const width = 760, left = 180, right = 676, step = 48, count = data.facts.genes - 1;
    const names = ["attention", ...FREE];
    const height = names.length * step + 46;
    const x = (rank) => left + ((rank - 1) / Math.max(1, count - 1)) * (right - left);
    const drawn = svg("svg", { viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": sentence(pick) });
    drawn.append(svg("text", { x: width - 6, y: 12, "text-anchor": "end", class: "tick" }, "AUROC"));
    names.forEach(function (name, line) {
      const y = 44 + line * step;
      const at = name === "attention" ? pick.attention : place(name, -1, -1);
      const words = name === "attention" ? "Attention, layer " + pick.layer : LABELS[name];
      drawn.append(svg("text", { x: left - 12, y: y, "text-anchor": "end" }, words));
      if (name === "attention") drawn.append(svg("text", { x: left - 12, y: y + 14, "text-anchor": "end", class: "tick" }, headWords(pick)));
      drawn.append(svg("line", { x1: left, x2: right, y1: y, y2: y, class: "line" }));
      const T = pick.own.targets.length;
      const order = [...Array(T).keys()].sort((a, b) => pick.isTarget(a) - pick.isTarget(b));
      for (const t of order) {
        const rank = pick.ranks(at * T + t) / 2;
        const target = pick.isTarget(t);
        const responds = target && !pick.reference.outcome && pick.own.outcome[t] === 1;
        const mark = svg("g", {});
        mark.append(svg("title", {}, data.names[pick.own.targets[t]] + ", rank " + rank + " of " + count));
        mark.append(svg("line", { x1: x(rank), x2: x(rank), y1: target ? y - 12 : y + 2, y2: target ? y + 6 : y + 9, class: target ? "target" : "other" }));
        if (responds) mark.append(svg("path", { d: "M" + x(rank) + " " + (y - 18) + "l4 4l-4 4l-4-4z", class: "both" }));
        drawn.append(mark);
      }
      const value = auroc(pick, name);
      drawn.append(svg("text", { x: width - 6, y: y + 4, "text-anchor": "end" }, value === null ? MISSING : value.toFixed(3)));
    });
    const foot = names.length * step + 22;
    for (const rank of [1, Math.round(count / 4), Math.round(count / 2), Math.round((3 * count) / 4), count]) {
      drawn.append(svg("text", { x: x(rank), y: foot, "text-anchor": "middle", class: "tick" }, rank));
    }
    drawn.append(svg("text", { x: (left + right) / 2, y: foot + 18, "text-anchor": "middle", class: "tick" },
      "rank of the gene among " + count.toLocaleString("en") + " (1 = highest score)"));
    byId("chart").replaceChildren(drawn);
    const bars = pick.own.targets.filter((none, t) => pick.isTarget(t)).length;
    byId("drawn").textContent = bars + " of " + pick.own.recovery[pick.network].targets + " targets are drawn; AUROC counts all.";
  }

  function cell(shown, source, row, column) {
    const made = make("td", undefined, { class: "num", "data-order": shown.order });
    const address = { "data-table": "results/explorer/" + source, "data-row": row, "data-column": column };
    made.append(shown.text === MISSING ? MISSING : make("data", shown.text, { value: shown.order, ...address }));
    return made;
  }

  function networks(pick, t) {
    const found = pick.own.listed.flatMap(function (members, at) {
      const k = members[0].indexOf(t);
      return k < 0 ? [] : [data.references[at].name + (SIGNS[members[1][k]] || "")];
    });
    return found.join(", ") || MISSING;
  }

  function row(pick, t) {
    const T = pick.own.targets.length, before = pick.numbers.before;
    const score = (at) => cell(number(pick.numbers.value(at * T + t)), "scores", at * pairs + before + t, "value");
    const rank = pick.numbers.rank(pick.attention * T + t) / 2;
    const told = (code, column) => cell(number(code), "targets", before + t, column);
    const line = document.createElement("tr");
    if (pick.isTarget(t)) line.className = "is-target";
    const responds = { "1": "responds", "0": "does not respond" }[pick.own.outcome[t]] || MISSING;
    line.append(
      make("th", data.names[pick.own.targets[t]], { scope: "row" }),
      make("td", networks(pick, t)),
      make("td", responds),
      told(pick.own.change[t], "lfc"),
      score(pick.attention),
      cell({ text: String(rank), order: rank }, "scores", pick.attention * pairs + before + t, "rank"),
      told(pick.own.signed[t], "signed_correlation"),
      ...["variance", "mean", "one_minus_dropout"].map((name) => score(place(name, -1, -1))),
      cell({ text: pick.own.cells[t].toLocaleString("en"), order: pick.own.cells[t] }, "targets", before + t, "cells_behind"),
      make("td", WHY[pick.own.why[t]])
    );
    return line;
  }

  function sort() {
    const kind = table.tHead.rows[0].cells[order.column].dataset.sort;
    const value = (line) => kind === "text" ? line.cells[order.column].textContent : line.cells[order.column].dataset.order;
    const rows = Array.from(body.rows).sort(function (one, other) {
      const a = value(one), b = value(other);
      if (kind === "text") return (order.rising ? 1 : -1) * a.localeCompare(b, "en", { numeric: true });
      if (a === "" || b === "") return (a === "") - (b === "");
      return (order.rising ? 1 : -1) * (Number(a) - Number(b));
    });
    body.append(...rows);
    Array.from(table.tHead.rows[0].cells).forEach(function (header, column) {
      if (column === order.column) header.setAttribute("aria-sort", order.rising ? "ascending" : "descending");
      else header.removeAttribute("aria-sort");
    });
  }

  function find() {
    const wanted = search.value.trim().toLowerCase();
    let count = 0;
    for (const line of body.rows) {
      line.hidden = !line.cells[0].textContent.toLowerCase().includes(wanted);
      count += line.hidden ? 0 : 1;
    }
    byId("count").textContent = count + " of " + body.rows.length + " genes shown";
  }

  function show() {
    const pick = chosen();
    byId("said").textContent = sentence(pick);
    byId("caption").textContent = pick.own.name + ", layer " + pick.layer + ", " + headWords(pick) +
      ". A bar before the gene: " + (pick.reference.outcome ? "it responds in the screen" : "listed by “" + pick.reference.name + "”") +
      ". Attention and its rank are those from " + pick.own.name + " to the gene.";
    chart(pick);
    body.replaceChildren(...pick.own.targets.map((name, t) => row(pick, t)));
    sort();
    find();
  }

  const layers = Array.from({ length: data.facts.layers }, (none, at) => at);
  const heads = data.scores.filter((score) => score[0] === "attention" && score[1] === 0 && score[2] >= 0).length;
  fill(picks.regulator, data.regulators.map((one) => one.name + (one.perturbed ? " (perturbed in the screen)" : "")));
  fill(picks.reference, data.references.map((one) => one.name));
  fill(picks.layer, layers.map((at) => "layer " + at + (at === data.facts.read_layer ? " (frozen: the tests read it)" : "")));
  fill(picks.head, ["mean over heads", ...Array.from({ length: heads }, (none, at) => "head " + at)]);
  picks.layer.value = data.facts.read_layer;
  for (const select of Object.values(picks)) select.addEventListener("change", show);
  search.addEventListener("input", find);
  Array.from(table.tHead.rows[0].cells).forEach(function (header, column) {
    const button = make("button", header.textContent, { type: "button" });
    header.replaceChildren(button);
    button.addEventListener("click", function () {
      order.rising = order.column === column ? !order.rising : true;
      order.column = column;
      sort();
    });
  });
  show();
})();
