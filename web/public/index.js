// Says whether the API is up, and fits the three lines to this host. No library, nothing from anywhere else.
const HEALTH = "/api/v1/monitoring/health";
const PATIENCE_MS = 30_000; // a cold start takes seconds
const VERDICTS = {
  ok: "Yes, and so is everything it stands on.",
  degraded: "Yes, but a part of it is down.",
  down: "It answers, but cannot work.",
};
const LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"];
const find = (id) => document.getElementById(id);

function show(state, verdict, dependencies = {}) {
  find("health").dataset.state = state;
  find("verdict").textContent = verdict;
  find("dependencies").replaceChildren(...Object.entries(dependencies).map(([name, { status }]) => {
    const item = document.createElement("li");
    item.className = status;
    item.textContent = `${name.replaceAll("_", " ")}: ${status}`;
    return item;
  }));
}

async function askHealth() {
  const answer = await fetch(HEALTH, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  const health = await answer.json().catch(() => null);
  if (!health || !Object.hasOwn(VERDICTS, health.status)) throw new Error(`it answered ${answer.status} without its health`);
  return health;
}

function reason(failure) {
  if (failure.name === "TimeoutError") return `no answer in ${PATIENCE_MS / 1000} seconds`;
  return failure instanceof TypeError ? `${HEALTH} cannot be reached` : failure.message;
}

async function refresh() {
  const button = find("again");
  button.disabled = true;
  show("asking", "Asking …");
  try {
    const { status, dependencies } = await askHealth();
    show(status, VERDICTS[status], dependencies);
  } catch (failure) {
    show("unreachable", `No: ${reason(failure)}.`);
  }
  button.disabled = false;
}

function addCopyButton(step) {
  const heading = step.querySelector("h3"), row = document.createElement("div"), button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${heading.textContent}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(step.querySelector("code").textContent);
    button.textContent = "Copied";
  });
  heading.replaceWith(row);
  row.append(heading, button);
}

async function fitToHost() {
  for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
  if (navigator.clipboard) document.querySelectorAll(".steps li").forEach(addCopyButton);
  // local.js is not deployed: firebase.json ignores it.
  if (LOCAL_HOSTS.includes(location.hostname)) (await import("./local.js")).showDemoUser();
}

find("again").addEventListener("click", refresh);
refresh();
fitToHost();
