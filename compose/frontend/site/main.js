// What differs between environments comes from env.js when the page is loaded, so one build serves all of them.
const { GREETING, API_URL } = window.__ENV__;
const form = document.querySelector("form");
const told = document.querySelector("p");
document.querySelector("h1").textContent = GREETING;

// The session is a cookie that no script can read: there is nothing to keep here.
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify(Object.fromEntries(new FormData(form)));
  const answer = await fetch("/api/session", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  await answer.text(); // else the browser keeps the connection for it
  form.reset();
  told.textContent = answer.ok ? await (await fetch(API_URL)).text() : `not logged in: ${answer.status}`;
});
