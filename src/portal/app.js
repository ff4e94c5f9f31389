// Only what makes pages handier: every one of them works without this.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const text = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(text);
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      // Over plain http there is no clipboard but this one.
      if (!document.execCommand("copy")) return;
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 2000);
  });
}

for (const live of document.querySelectorAll("[data-events]")) {
  const events = new EventSource(live.dataset.events);
  // Nobody loses what the focus is on.
  events.onmessage = ({ data }) => live.contains(document.activeElement) || (live.innerHTML = data);
  events.addEventListener("end", () => events.close());
}
