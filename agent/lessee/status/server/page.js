
"use strict";
// Takes the page anew and changes only what differs, so that focus, selection and place stay as they are.
(() => {
  const EVERY = 2000;
  const here = location.origin + location.pathname; // without the user and token that an address may hold
  const lost = document.createElement("p");
  lost.id = "lost";
  lost.setAttribute("role", "alert");
  document.body.prepend(lost);
  const button = document.createElement("button");
  button.type = "button";
  document.getElementById("bottom").append(button);

  let paused = false, missed = null, timer = 0;

  function same(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.id === fresh.id;
  }

  function meld(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    meldChildren(old, [...fresh.childNodes]);
  }

  function meldChildren(old, wanted) {
    wanted.forEach((fresh, at) => {
      let now = old.childNodes[at];
      // A part that has come or gone moves none of the others: they are known by their ids.
      while (now && fresh.id && !same(now, fresh) && [...old.children].some((one) => one.id === fresh.id)) {
        now.remove();
        now = old.childNodes[at];
      }
      if (!now) old.append(document.importNode(fresh, true));
      else if (same(now, fresh)) meld(now, fresh);
      else if (fresh.id || now.id) old.insertBefore(document.importNode(fresh, true), now);
      else now.replaceWith(document.importNode(fresh, true));
    });
    while (old.childNodes.length > wanted.length) old.lastChild.remove();
  }

  async function look() {
    try {
      const answer = await fetch(here, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(8000) });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.getElementById("main")) throw new Error("another page");
      for (const id of ["top", "main"]) meld(document.getElementById(id), fresh.getElementById(id));
      meld(document.querySelector("#bottom p"), fresh.querySelector("#bottom p"));
      document.title = fresh.title;
      missed = null;
      say("");
    } catch {
      missed ??= new Date();
      say(`No answer since ${missed.toLocaleTimeString()}: what is shown is of before. It goes on trying.`);
    }
    plan();
  }

  function say(text) {
    if (lost.textContent !== text) lost.textContent = text;
  }

  function plan() {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(look, EVERY);
  }

  function show() {
    button.textContent = paused ? "Go on refreshing" : "Pause refreshing";
  }

  button.addEventListener("click", () => {
    paused = !paused;
    show();
    if (paused) clearTimeout(timer);
    else look();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : paused || look()));
  show();
  plan();
})();
