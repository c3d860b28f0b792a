
"use strict";
// Fetches the page regularly and changes only what differs, so that focus, selection and scroll position stay unchanged.
(() => {
  const INTERVAL = 2000;
  const here = location.origin + location.pathname; // without the user and token that the address may contain
  const lost = document.createElement("p");
  lost.id = "connection-lost";
  lost.setAttribute("role", "alert");
  document.body.prepend(lost);
  const button = document.createElement("button");
  button.type = "button";
  document.getElementById("bottom").append(button);

  let paused = false, lostAt = null, timer = 0;

  function same(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.id === fresh.id;
  }

  function patch(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
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
    try {
      const response = await fetch(here, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(8000) });
      if (!response.ok) throw new Error(String(response.status));
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      if (!fresh.getElementById("main")) throw new Error("another page");
      for (const id of ["top", "main"]) patch(document.getElementById(id), fresh.getElementById(id));
      patch(document.querySelector("#bottom p"), fresh.querySelector("#bottom p"));
      document.title = fresh.title;
      lostAt = null;
      report("");
    } catch {
      lostAt ??= new Date();
      report(`No response since ${lostAt.toLocaleTimeString()}. This is the last status; the page keeps retrying.`);
    }
    schedule();
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
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : paused || refresh()));
  label();
  schedule();
})();
