"use strict";
(function () {
  document.documentElement.classList.add("scripted");
  const table = document.getElementById("registry-table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const search = document.getElementById("search");
  const status = document.getElementById("status");
  const shown = document.getElementById("shown");

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = status.value;
    let count = 0;
    for (const row of rows) {
      const text = row.dataset.search;
      const state = wanted === "significant" ? row.dataset.significant === "yes" : !wanted || row.dataset.status === wanted;
      const visible = state && words.every((word) => text.includes(word));
      row.hidden = !visible;
      count += visible ? 1 : 0;
    }
    shown.textContent = count + " of " + rows.length + " tests shown";
  }

  function value(row, column, kind) {
    const cell = row.cells[column];
    if (kind === "text") return cell.textContent.trim();
    return cell.dataset.order === "" ? null : Number(cell.dataset.order);
  }

  function sort(header, column) {
    const kind = header.dataset.sort;
    const rising = header.getAttribute("aria-sort") !== "ascending";
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const sign = rising ? 1 : -1;
    rows.sort(function (left, right) {
      const a = value(left, column, kind);
      const b = value(right, column, kind);
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (kind === "text" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    });
    body.append(...rows);
  }

  Array.from(table.tHead.rows[0].cells).forEach(function (header, column) {
    if (!header.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", function () { sort(header, column); });
  });
  search.addEventListener("input", filter);
  status.addEventListener("change", filter);

  function opened(target) {
    const found = [];
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") found.push(node);
    return found;
  }

  function reveal() {
    let id = "";
    try { id = decodeURIComponent(location.hash.slice(1)); } catch (error) { return; }
    const target = document.getElementById(id);
    if (!target) return;
    const inTable = target.closest("tbody") === body;
    if (inTable && target.hidden) { search.value = ""; status.value = ""; filter(); }
    const folded = opened(target);
    const own = target.tagName === "TR" ? target.querySelector("details") : null;
    if (own) folded.push(own);
    if (!folded.length) return;
    for (const details of folded) details.open = true;
    target.scrollIntoView({ block: "start" });
    const summary = own && own.querySelector("summary");
    if (!summary) return;
    summary.focus({ preventScroll: true });
    own.scrollIntoView({ block: "nearest", inline: "nearest" });
    target.scrollIntoView({ block: "start" });
  }

  let closed = [];
  window.addEventListener("beforeprint", function () {
    closed = Array.from(document.querySelectorAll("details.print-open:not([open])"));
    for (const details of closed) details.open = true;
  });
  window.addEventListener("afterprint", function () {
    for (const details of closed) details.open = false;
  });
  window.addEventListener("hashchange", reveal);
  filter();
  reveal();
})();
