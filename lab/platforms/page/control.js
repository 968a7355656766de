// The control page: a person steers the meetings by hand.
document.onclick = async ({ target }) => {
  const { platform, code, do: verb } = target.dataset;
  if (!verb) return;
  const who = verb === "remove" ? prompt("Whom?") : "";
  if (who === null) return;
  const body = JSON.stringify({ platform, code, do: verb, who });
  const answer = await fetch("/-/control", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (!answer.ok) alert(await answer.text());
  location.reload();
};
