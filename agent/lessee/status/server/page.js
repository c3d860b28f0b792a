
"use strict";
// Fetches the page regularly and changes only what differs, so that focus, selection and scroll position stay unchanged.
(() => {
  const INTERVAL = 2000;
  const TYPING_PAUSE = 200;
  const here = location.origin + location.pathname; // without the user and token that the address may contain
  const lost = document.createElement("p");
  lost.id = "connection-lost";
  lost.setAttribute("role", "alert");
  document.body.prepend(lost);
  const button = document.createElement("button");
  button.type = "button";
  document.getElementById("bottom").append(button);

  const main = document.getElementById("main");
  const filter = document.createElement("div");
  filter.id = "filter";
  filter.setAttribute("role", "search");
  filter.innerHTML = '<label for="filter-text">Filter</label><input id="filter-text" type="search" autocomplete="off" spellcheck="false">';
  const field = filter.querySelector("input");
  field.value = new URLSearchParams(location.search).get("q") ?? "";
  main.before(filter);

  let paused = false, lostAt = null, timer = 0, typing = 0;
  const opened = new Set(); // the ids of the groups that are open, because a group may be removed and be back later
  let takesOpen = false; // Whether the fresh page decides what is open, as after another filter.

  function same(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.id === fresh.id;
  }

  function patch(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    const keeps = (name) => name === "open" && !takesOpen; // What the user has opened or closed stays so.
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !keeps(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value && !keeps(name)) old.setAttribute(name, value);
    patchChildren(old, [...fresh.childNodes]);
  }

  function patchChildren(old, target) {
    target.forEach((fresh, index) => {
      let current = old.childNodes[index];
      // Elements are matched by id, so an added or removed one does not change the others.
      while (current && fresh.id && !same(current, fresh) && [...old.children].some((child) => child.id === fresh.id)) {
        current.remove();
        current = old.childNodes[index];
      }
      if (!current) old.append(document.importNode(fresh, true));
      else if (same(current, fresh)) patch(current, fresh);
      else if (fresh.id || current.id) old.insertBefore(document.importNode(fresh, true), current);
      else current.replaceWith(document.importNode(fresh, true));
    });
    while (old.childNodes.length > target.length) old.lastChild.remove();
  }

  async function refresh() {
    clearTimeout(timer);
    const query = location.search;
    try {
      const response = await fetch(here + query, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(8000) });
      if (!response.ok) throw new Error(String(response.status));
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      if (!fresh.getElementById("main")) throw new Error("another page");
      if (query !== location.search) return; // The answer for another filter, whose own answer is under way.
      if (takesOpen) opened.clear();
      for (const id of ["top", "main"]) patch(document.getElementById(id), fresh.getElementById(id));
      patch(document.querySelector("#bottom p"), fresh.querySelector("#bottom p"));
      for (const id of opened) if (document.getElementById(id)) document.getElementById(id).open = true;
      takesOpen = false;
      showFilter();
      document.title = fresh.title;
      lostAt = null;
      report("");
    } catch {
      lostAt ??= new Date();
      report(`No response since ${lostAt.toLocaleTimeString()}. This is the last status; the page keeps retrying.`);
    }
    schedule();
  }

  function showFilter() {
    filter.hidden = !field.value && document.activeElement !== field && !main.querySelector("details.group");
  }

  function openTarget() {
    const target = document.getElementById(location.hash.slice(1));
    for (let one = target?.closest("details"); one; one = one.parentElement.closest("details")) one.open = true;
    target?.scrollIntoView();
  }

  function find() {
    const query = field.value.trim() ? `?${new URLSearchParams({ q: field.value.trim() })}` : "";
    if (query === location.search) return;
    history.replaceState(null, "", location.pathname + query);
    takesOpen = true;
    refresh();
  }

  function report(text) {
    if (lost.textContent !== text) lost.textContent = text;
  }

  function schedule() {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(refresh, INTERVAL);
  }

  function label() {
    button.textContent = paused ? "Resume refreshing" : "Pause refreshing";
  }

  button.addEventListener("click", () => {
    paused = !paused;
    label();
    if (paused) clearTimeout(timer);
    else refresh();
  });
  field.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(find, TYPING_PAUSE);
  });
  field.addEventListener("change", find);
  // The address always leads to what is open now.
  main.addEventListener("toggle", ({ target }) => {
    if (target.open) opened.add(target.id);
    else opened.delete(target.id);
    if (!target.classList.contains("group")) return;
    const hash = target.open ? `#${target.id.replace("group-", "")}` : "";
    history.replaceState(null, "", location.pathname + location.search + hash);
  }, true);
  addEventListener("hashchange", openTarget);
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : paused || refresh()));
  label();
  showFilter();
  openTarget();
  schedule();
})();
