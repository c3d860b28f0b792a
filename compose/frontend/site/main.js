// env.js has the settings of the environment, so one build serves all environments.
const { GREETING, API_URL } = window.__ENV__;
const form = document.querySelector("form");
const message = document.querySelector("p");
document.querySelector("h1").textContent = GREETING;

// The session is a cookie that no script can read, so this page stores nothing.
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify(Object.fromEntries(new FormData(form)));
  const answer = await fetch("/api/session", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  await answer.text(); // otherwise the browser keeps the connection open
  form.reset();
  message.textContent = answer.ok ? await (await fetch(API_URL)).text() : `not logged in: ${answer.status}`;
});
