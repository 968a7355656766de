// The page of the manager. Data from outside is only set as textContent.

const SILENT_MS = 7000; // the manager sends something every two seconds; after this silence the connection is lost
const AGAIN_MS = [500, 8000];
const SHOWN = 100; // VMs that are shown at first
const STATES = ["warming", "idle", "reserved", "busy", "retiring"];
const AT_ONCE = 40; // rows of a table that are made in one frame: a table of any size delays no frame
const WHERE = {
  scheduled: "scheduled", queued: "in line for a worker", assigned: "given to a worker", joining: "on its way in",
  waiting_room: "in the waiting room", in_meeting: "in the meeting", leaving: "leaving", stopped: "ended",
};
const STATE_MEANS = {
  resting: "It began none of the bots that it was given, and is given none for a while. Its agent's log says why.",
  draining: "It is given no bots; those on it go on to their end.",
  stopping: "Its agent was asked to end, or its cloud takes it away. Bots on it go on; it is given none.",
  silent: "Nothing was heard of its agent lately. Bots on it go on. Look at the agent, and at what lies between it and Redis.",
  lost: "Nothing was heard of its agent for so long that its bots were given up. Look at the agent; if the VM is gone for good, nothing is to be done.",
};
const KEY = "poolmgr-token";
const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);

let me = null; // what the token may, once it is known
let head = null;
let vms = new Map(), bots = new Map(), hour = new Map();
let untold = { vms: new Set(), bots: new Set() }; // shown from before, and not told again since the stream began
let skew = 0; // the manager's clock minus this machine's, ms
let shown = SHOWN;
let dirty = { vms: true, bots: true, head: true, hour: true, all: true };
let painting = false;
let seen = 0; // when something last came, by this machine's clock
let line = null; // the open stream, for aborting it

// Elements

function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "class") made.className = value;
    else if (name === "on") made.addEventListener("click", value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return made;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const botLink = (id, name) => el("a", { href: `#/bot/${encodeURIComponent(id)}` }, name || id);
const vmLink = (id) => el("a", { href: `#/vm/${encodeURIComponent(id)}` }, id);

function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.floor(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

const clock = (epoch) => (epoch ? new Date(epoch * 1000).toISOString().slice(11, 19) : "");
const moment = (iso) => (iso ? `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC` : "");
const now = () => (Date.now() + skew) / 1000;

// Requests

const headers = () => ({ Authorization: `Token ${sessionStorage.getItem(KEY) || ""}` });

class Refused extends Error {}

async function ask(path, options = {}) {
  const answer = await fetch(path, {
    ...options, cache: "no-store", headers: { ...headers(), ...(options.body ? { "Content-Type": "application/json" } : {}) },
    signal: AbortSignal.timeout(10000),
  }).catch(() => { throw new Error("The manager does not answer."); });
  if (answer.ok) return answer;
  const text = await answer.json().then((body) => body.message, () => answer.statusText);
  throw answer.status === 401 || answer.status === 403 ? new Refused(text) : new Error(text);
}

// The stream: by fetch, because an EventSource cannot show a token

async function watch() {
  let pause = AGAIN_MS[0];
  while (sessionStorage.getItem(KEY)) {
    const abort = (line = new AbortController());
    let timer = 0;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENT_MS);
    };
    let why = "";
    try {
      heard();
      const answer = await fetch("page/live", { headers: headers(), signal: abort.signal, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) {
        const body = await answer.json();
        clearTimeout(timer);
        return forget(body.message);
      }
      if (!answer.ok) throw new Error((await answer.json()).message);
      for await (const part of parts(answer, heard)) {
        take(part);
        pause = AGAIN_MS[0];
      }
    } catch (error) {
      why = error.name === "AbortError" || error instanceof TypeError ? "" : error.message;
    }
    clearTimeout(timer);
    if (!sessionStorage.getItem(KEY)) return;
    cut(why);
    await new Promise((done) => {
      setTimeout(done, pause);
      addEventListener("online", done, { once: true });
    });
    pause = Math.min(pause * 2, AGAIN_MS[1]);
  }
}

async function* parts(answer, heard = () => {}) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    rest += value;
    const whole = rest.split("\n\n");
    rest = whole.pop();
    yield* whole;
  }
}

addEventListener("offline", () => line?.abort());

function take(part) {
  seen = Date.now();
  if (!part.startsWith("data: ")) return connected();
  const told = JSON.parse(part.slice(6));
  if (told.kind === "fault") return cut(told.message);
  connected();
  skew = told.at * 1000 - Date.now();
  if (told.kind === "all") {
    untold = { vms: new Set(vms.keys()), bots: new Set(bots.keys()) };
    hour.clear();
    dirty.all = true;
  }
  for (const vm of told.vms || []) { vms.set(vm.id, vm); untold.vms.delete(vm.id); dirty.vms = true; }
  for (const id of told.gone || []) { vms.delete(id); dirty.vms = true; }
  for (const bot of told.bots || []) { bots.set(bot.id, bot); untold.bots.delete(bot.id); dirty.bots = true; }
  for (const id of told.no_more || []) { bots.delete(id); dirty.bots = true; }
  for (const one of told.hour || []) { hour.set(one.at, one); dirty.hour = true; }
  if (told.head) { head = told.head; dirty.head = true; }
  if (told.whole) {
    for (const id of untold.vms) { vms.delete(id); dirty.vms = true; }
    for (const id of untold.bots) { bots.delete(id); dirty.bots = true; }
    untold = { vms: new Set(), bots: new Set() };
  }
  soon();
  const touched = (route?.of === "vm" ? told.vms : told.bots) || [];
  if (route?.reload && told.kind === "change" && touched.some((one) => one.id === route.id)) route.reload();
}

function connected() {
  const place = $("connection");
  place.classList.remove("cut");
  $("fleet").classList.remove("old");
  say(place, head ? (head.leader ? `live · ${head.leader} leads, epoch ${head.epoch}` : "live · nobody leads") : "live");
}

function cut(why) {
  const place = $("connection");
  place.classList.add("cut");
  $("fleet").classList.add("old");
  const since = seen ? ` What you see is of ${clock((seen + skew) / 1000)} UTC.` : "";
  say(place, `${why || "Cut off."}${since} Trying again.`);
}

// Drawing: at most once a frame, and only what changed

function soon() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => { painting = false; paint(); });
}

function paint() {
  if ($("fleet").hidden) return;
  const { all, head, hour, vms, bots } = dirty;
  dirty = { vms: false, bots: false, head: false, hour: false, all: false };
  if (all || head || hour) paintNumbers();
  if (all || hour) paintPlots();
  if (all || vms) dirty.vms = !paintVms();
  if (all || bots) dirty.bots = !paintBots();
  if (dirty.vms || dirty.bots) soon();
}

const numbers = new Map();

function number(name, text, bad = false) {
  let value = numbers.get(name);
  if (!value) {
    value = el("dd");
    numbers.set(name, value);
    $("numbers").append(el("div", {}, el("dt", {}, name), value));
  }
  say(value, text);
  value.classList.toggle("bad", bad);
}

function paintNumbers() {
  if (!head) return;
  const of = head.workers;
  number("Leads", head.leader || "nobody", !head.leader);
  const read = Object.values(head.vms).reduce((sum, count) => sum + count, 0);
  const up = head.vms.up || 0;
  number("VMs up", read < head.vms_there ? `being read: ${read} of ${head.vms_there}` : `${up} of ${read}`, up < read);
  number("Idle of wanted", `${of.idle} of ${head.target}`, of.idle < head.target);
  number("Warming", String(of.warming));
  number("Busy", String(of.busy + of.reserved));
  number("Bots", String(head.bots_live));
  number("In meetings", String(head.bots.in_meeting || 0));
  const waits = head.oldest_since ? `, the first for ${span(now() - head.oldest_since)}` : "";
  number("Queue", head.counted ? `${head.queued}${waits}` : "being counted", head.queued > 0);
  number("Jobs not taken", String(head.jobs_waiting), head.jobs_waiting > 0);
  const { text, bad } = enough(read < head.vms_there);
  say($("enough"), text);
  $("enough").classList.toggle("bad", bad);
  if (line) connected();
}

// Whether the pool is big enough, and what would help if it is not.
function enough(reading) {
  if (!me || !head.counted || reading) return { text: "", bad: false };
  const room = Math.max(0, (head.vms.up || 0) * me.max_workers - Object.values(head.workers).reduce((sum, count) => sum + count, 0));
  const more = room ? `The VMs have room for ${room} more workers (pool.max_workers).` : "No VM has room for more workers (pool.max_workers): only more VMs help.";
  if (head.queued) {
    const help = !head.leader ? "Nobody leads, so they are given none." : !head.vms.up ? "No VM is up." : more;
    return { text: `Is the pool big enough? Not now: ${head.queued} ${head.queued === 1 ? "bot waits" : "bots wait"} for a worker. ${help}`, bad: true };
  }
  let given = 0, hits = 0;
  for (const one of hour.values()) { given += one.given; hits += one.hits; }
  if (!given) return { text: `Is the pool big enough? No bot was given a worker in the last hour. ${more}`, bad: false };
  const waited = given - hits;
  if (waited > 0.05 * given) {
    const help = room ? "A larger pool.min_idle keeps more of them warm." : "";
    return { text: `Is the pool big enough? Not always: in the last hour ${waited} of ${given} bots found no idle worker. ${help} ${more}`, bad: true };
  }
  return { text: `Is the pool big enough? Yes: in the last hour ${hits} of ${given} bots found an idle worker. ${more}`, bad: false };
}

function shape(tag, given) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
  return made;
}

function paintPlots() {
  const end = Math.floor(now() / 60) * 60;
  const of = (n) => hour.get(end - (59 - n) * 60);
  for (const at of hour.keys()) if (at < end - 3600) hour.delete(at);
  let given = 0, hits = 0, joined = 0, most = 1;
  for (const one of hour.values()) {
    given += one.given; hits += one.hits; joined += one.joined;
    most = Math.max(most, one.slow_s);
  }
  const rates = [], times = [];
  const joins = [];
  for (let n = 0; n < 60; n++) {
    const one = of(n);
    if (!one) continue;
    const x = n * 5;
    if (one.given) {
      const rate = one.hits / one.given;
      rates.push(shape("rect", { x, y: 58 - 56 * rate, width: 4, height: 2 + 56 * rate, class: rate < 0.9 ? "bar low" : "bar" }));
    }
    if (one.joined) {
      joins.push([one.median_s, one.joined]);
      times.push(shape("rect", { x, y: 60 - (58 * one.slow_s) / most, width: 4, height: (58 * one.slow_s) / most, class: "slow" }));
      times.push(shape("rect", { x, y: 60 - (58 * one.median_s) / most, width: 4, height: (58 * one.median_s) / most, class: "median" }));
    }
  }
  $("hits").replaceChildren(...rates);
  $("joins").replaceChildren(...times);
  say($("hits-says"), given ? `Warm hits in the last hour: ${((100 * hits) / given).toFixed(0)} % of ${given} bots found an idle worker` : "Warm hits in the last hour: no bot was given a worker");
  joins.sort((a, b) => a[0] - b[0]);
  let left = joined / 2, median = 0;
  for (const [seconds, count] of joins) { left -= count; median = seconds; if (left <= 0) break; }
  say($("joins-says"), joined ? `Joining in the last hour: ${joined} bots, half of them within ${span(median)}; slowest minute ${span(most)} (95 %)` : "Joining in the last hour: nobody joined");
}

// Whether all rows are there. If not, the next call makes more of them.
function rows(body, wanted, made, make, fill) {
  for (const [id, row] of made) if (!wanted.has(id)) { row.remove(); made.delete(id); }
  let place = body.firstElementChild;
  let left = AT_ONCE;
  for (const [id, what] of wanted) {
    let row = made.get(id);
    if (!row && !left--) return false;
    if (!row) made.set(id, (row = make(id)));
    if (row.what !== what) { row.what = what; fill(row, what); }
    if (row === place) place = place.nextElementSibling;
    else body.insertBefore(row, place);
  }
  return true;
}

const vmRows = new Map(), botRows = new Map();

// Names in the order in which vm-9 comes before vm-10. Made once for each name: comparing by a collator takes 20 times as long.
const keys = new Map();

function key(id) {
  let made = keys.get(id);
  if (made === undefined) keys.set(id, (made = id.replace(/\d+/g, (digits) => digits.padStart(16, "0"))));
  return made;
}

function byName(a, b) {
  const one = key(a.id), other = key(b.id);
  return one < other ? -1 : one > other ? 1 : 0;
}

function paintVms() {
  for (const id of keys.keys()) if (!vms.has(id)) keys.delete(id);
  const sorted = [...vms.values()].sort((a, b) => a.rank - b.rank || byName(a, b));
  const all = rows($("vms").tBodies[0], new Map(sorted.slice(0, shown).map((vm) => [vm.id, vm])), vmRows, makeVm, fillVm);
  const left = sorted.length - shown;
  $("more").hidden = left <= 0;
  if (left > 0) say($("more"), `Show more: ${left} further VMs, none of them in a worse state`);
  $("no-vms").hidden = vms.size > 0;
  $("vms").hidden = vms.size === 0;
  return all;
}

function makeVm(id) {
  const row = el("tr", {}, el("th", { scope: "row" }, vmLink(id)), el("td"), el("td", {}, el("span", { "aria-hidden": "true" }), el("span", { class: "counts" })));
  row.lastElementChild.firstElementChild.append(...STATES.map((state) => el("span", { class: `run ${state}`, hidden: "" })));
  return row;
}

function fillVm(row, vm) {
  const state = row.children[1];
  say(state, vm.drains && vm.state === "up" ? "draining" : vm.state);
  state.classList.toggle("bad", vm.state !== "up" || vm.drains);
  const [cells, counts] = row.lastElementChild.children;
  vm.workers.forEach((count, n) => {
    const run = cells.children[n];
    run.hidden = !count;
    run.style.width = `${Math.min(count, 60) * 10 - 2}px`;
  });
  const words = vm.workers.map((count, n) => (count ? `${count} ${STATES[n]}${vm.displays[n] ? ` (${vm.displays[n]} with a display)` : ""}` : "")).filter(Boolean);
  say(counts, words.join(", ") || "no worker");
}

function paintBots() {
  const sorted = [...bots.values()].sort((a, b) => b.created - a.created || (a.id < b.id ? 1 : -1));
  const all = rows($("bots").tBodies[0], new Map(sorted.map((bot) => [bot.id, bot])), botRows, makeBot, fillBot);
  $("no-bots").hidden = bots.size > 0;
  $("bots").hidden = bots.size === 0;
  return all;
}

function makeBot(id) {
  const row = el("tr", {}, el("th", { scope: "row" }, botLink(id, "")), el("td"), el("td"), el("td"), el("td"));
  return row;
}

function fillBot(row, bot) {
  say(row.children[0].firstElementChild, bot.name || bot.id);
  say(row.children[1], bot.platform);
  const where = row.children[2];
  where.replaceChildren(bot.state === "stopped" ? `${bot.status}: ${bot.reason}` : WHERE[bot.state] || bot.state);
  if (bot.vm && bot.state !== "stopped") where.append(" on ", vmLink(bot.vm));
  where.classList.toggle("bad", bot.status === "Error");
  say(row.children[4], bot.join_s === null ? "" : span(bot.join_s));
  age(row);
}

function age(row) {
  const bot = row.what;
  say(row.children[3], bot.state === "stopped" ? `ended ${clock(bot.since)}` : span(now() - bot.since));
}

setInterval(() => {
  if (document.hidden || $("fleet").hidden || $("connection").classList.contains("cut")) return;
  for (const row of botRows.values()) if (row.what.state !== "stopped") age(row);
  if (head && head.oldest_since) paintNumbers();
}, 1000);

$("more").addEventListener("click", () => { shown += 200; dirty.all = true; soon(); });

// Addresses: #/, #/bot/ID, #/vm/ID, #/search/TEXT, #/see/probes, #/see/actions

let route = null;

function go() {
  const [, of, id] = location.hash.match(/^#\/(bot|vm|search|see)\/(.+)$/) || [];
  clearInterval(route?.timer);
  lookAway();
  if (!sessionStorage.getItem(KEY)) return;
  let name = "";
  try { name = id ? decodeURIComponent(id) : ""; } catch { /* a malformed address: the fleet is shown */ }
  route = { of: name ? of : "", id: name };
  $("fleet").hidden = Boolean(name);
  $("detail").hidden = !name;
  document.title = name ? `${name} · poolmgr` : "poolmgr";
  if (!name) { dirty.all = true; soon(); return; }
  $("detail").replaceChildren(el("p", { class: "quiet" }, "Asking…"));
  if (!me) return;
  const page = { bot: botPage, vm: vmPage, search: searchPage, see: seePage }[of];
  const mine = route;
  let under = false, asked = 0;
  mine.reload = async (first = false) => {
    if (under || mine !== route || (!first && Date.now() - asked < 1000)) return;
    under = true;
    asked = Date.now();
    try {
      const made = await page(name);
      if (mine !== route) return;
      const text = JSON.stringify(made.data);
      if (text !== mine.text) {
        mine.text = text;
        keep(() => $("detail").replaceChildren(...made.make()));
        if (first) $("detail").querySelector("h1")?.focus();
      }
    } catch (error) {
      if (error instanceof Refused && first) return forget(error.message);
      if (mine === route && first) $("detail").replaceChildren(el("h1", { tabindex: "-1" }, name), el("p", { class: "bad" }, error.message));
    } finally {
      under = false;
    }
  };
  mine.reload(true);
  if (of !== "search") mine.timer = setInterval(() => { if (!document.hidden) mine.reload(); }, 3000);
}

function keep(change) {
  // The focus stays at its button.
  const at = document.activeElement?.id;
  change();
  if (at && document.activeElement?.id !== at) $(at)?.focus();
}

addEventListener("hashchange", go);
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("q").value.trim();
  if (text) location.hash = `#/search/${encodeURIComponent(text)}`;
});

function facts(pairs) {
  return el("dl", {}, ...pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function grid(title, names, lines) {
  if (!lines.length) return null;
  // People without a pointer scroll a wide table with the keyboard, so it has to take the focus.
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, el("table", { "aria-label": title },
    el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...lines.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell)))))));
}

const some = (...parts) => parts.flat().filter(Boolean);

function button(id, text, question, yes, act) {
  if (me.role !== "operate") return null;
  const made = el("button", { type: "button", id }, text);
  made.addEventListener("click", async () => {
    if (!(await sure(question, yes))) return;
    made.disabled = true;
    const says = el("span", { role: "status" }, "asking…");
    made.after(says);
    try {
      says.textContent = (await (await act()).json()).message;
    } catch (error) {
      says.textContent = error.message;
      made.disabled = false;
    }
  });
  return made;
}

function sure(question, yes) {
  say($("ask-text"), question);
  say($("ask-yes"), yes);
  $("ask").returnValue = "";
  $("ask").showModal();
  return new Promise((done) => $("ask").addEventListener("close", () => done($("ask").returnValue === "yes"), { once: true }));
}

// A bot

const pictures = { of: "", made: [] };

async function botPage(id) {
  const at = `page/bots/${encodeURIComponent(id)}`;
  const data = await (await ask(at)).json();
  return { data, make: () => makeBotPage(id, data) };
}

function makeBotPage(id, data) {
  const bot = data.bot;
  const over = bot.state === "stopped";
  let before = 0;
  const story = data.story.map(({ at, text }) => {
    const when = Date.parse(at) / 1000;
    const after = before && when ? ` +${span(when - before)}` : "";
    before = when || before;
    return el("li", {}, el("time", { datetime: at }, `${at.slice(11, 19)}${after}`), text);
  });
  const ends = over ? `${bot.status}: ${bot.status_reason}${data.whose ? `, ${data.whose}` : ""}` : WHERE[bot.state] || bot.state;
  return some(
    el("h1", { tabindex: "-1" }, bot.bot_name || id),
    el("p", { class: bot.status === "Error" ? "bad" : "" }, ends, bot.reason_detail ? `. ${bot.reason_detail}` : ""),
    data.means && over ? el("p", {}, `What it means: ${data.means.what}. What to do: ${data.means.do || "nothing"}.`) : null,
    over ? null : el("p", { class: "actions" }, button("leave", "Have it leave", `Have ${bot.bot_name || id} leave its meeting?`, "Have it leave", () => ask(`api/v1/bots/${encodeURIComponent(id)}/remove_bot`, { method: "POST", body: "{}" }))),
    me.look && !over ? lookInto(id, bot.bot_name || id) : null,
    data.waits_for.length ? [el("h2", {}, "It waits for"), el("ul", {}, ...data.waits_for.map((one) => el("li", {}, one)))] : null,
    facts([
      ["Id", bot.bot_id], ["Platform", bot.platform], ["Meeting", bot.meeting_url], ["VM", bot.vm_id ? vmLink(bot.vm_id) : ""],
      ["Worker", bot.worker_id], ["Attempt", bot.attempt || ""], ["Screen", bot.screen && `${bot.screen} (${bot.rule})`],
      ["In the meeting, itself included", bot.participants ?? (bot.state === "in_meeting" ? "not known" : "")], ["Speaks", bot.active_speaker],
      ["User", bot.user_id], ["Calendar event", bot.calendar_event_id], ["Made by token", bot.owner],
      ["Made", moment(bot.created_at)], ["To join at", moment(bot.join_at)], ["In since", moment(bot.inmeeting_at)], ["Ended", moment(bot.stopped_at)],
    ]),
    el("h2", {}, "What happened (UTC)"), el("ol", { class: "story" }, ...story),
    bot.manifest_status === "completed" ? [el("h2", {}, "Recording"), recording(id, bot)] : null,
    data.evidence.length ? [el("h2", {}, "Evidence"), evidence(id, data.evidence)] : null,
    data.participants.length ? [el("h2", {}, "Participants"), grid("Participants", ["Name", "Came", "Left"], data.participants.map((one) => [one.name || one.id, moment(one.joined_at), one.left_at ? moment(one.left_at) : "is there"]))] : null,
    data.webhooks.waiting.length ? [el("h2", {}, "Webhooks that wait"), grid("Webhooks that wait", ["Event", "Happened", "Attempts", "Host"], data.webhooks.waiting.map((one) => [one.event, moment(one.at), one.attempts, one.host]))] : null,
    data.webhooks.log.length ? [el("h2", {}, "Webhooks, attempts"), grid("Webhooks, attempts", ["Event", "At", "Attempt", "Outcome", "Took", "Host"], data.webhooks.log.map((one) => [one.event, moment(one.at), one.attempt, one.outcome, span(one.took_s), one.host]))] : null,
  );
}

// What was recorded, at a glance: fetched once for each bot that is looked at

let glance = { key: "", place: null, strip: "" };

function recording(id, bot) {
  const key = [id, bot.attempt, bot.audio_status, bot.video_status].join(" ");
  if (glance.key === key) return glance.place;
  if (glance.strip) URL.revokeObjectURL(glance.strip);
  const mine = (glance = { key, place: el("div", { class: "recording" }), strip: "" });
  const [sound, picture] = [el("div"), el("div")];
  mine.place.append(picture, sound);
  const at = `api/v1/bots/${encodeURIComponent(id)}`;
  const failed = (place) => (error) => place.replaceChildren(el("p", { class: "quiet" }, error.message));
  if (bot.audio_status === "processed") drawSound(at, sound).catch(failed(sound));
  if (bot.video_status === "processed") showStrip(at, picture, mine).catch(failed(picture));
  if (bot.audio_status !== "processed" && bot.video_status !== "processed") sound.append(el("p", { class: "quiet" }, "Nothing was recorded."));
  return mine.place;
}

async function drawSound(at, place) {
  const { column_s, left, right } = await (await ask(`${at}/waveform`)).json();
  const count = left.length;
  const points = [...left.map((peak, n) => [n, 30 - 29 * peak]), ...right.map((peak, n) => [n, 30 + 29 * peak]).reverse()];
  const says = `Sound, ${span(count * column_s)}: left above, right below`;
  const drawn = shape("svg", { viewBox: `0 0 ${Math.max(1, count - 1)} 60`, preserveAspectRatio: "none", role: "img", "aria-label": says });
  drawn.append(shape("polygon", { class: "bar", points: points.map((point) => point.join(",")).join(" ") }));
  place.replaceChildren(el("figure", {}, el("figcaption", {}, says), drawn));
}

async function showStrip(at, place, mine) {
  const blob = await (await ask(`${at}/thumbnails`)).blob();
  if (glance !== mine) return;
  const image = el("img", { alt: "Small pictures of the video, from its beginning to its end" });
  image.src = mine.strip = URL.createObjectURL(blob);
  place.replaceChildren(image);
}

function evidence(id, kept) {
  const place = el("div");
  const here = kept.filter((one) => one.here);
  place.append(el("ul", {}, ...kept.map((one) => el("li", {}, `${one.name} `, one.here
    ? el("button", { type: "button", id: `save-${one.attempt}`, on: () => save(id, one) }, "Save the bundle: pictures, page, history")
    : el("span", { class: "quiet" }, one.where)))));
  if (here.length) {
    const key = `${id} ${here.map((one) => one.attempt)}`;
    if (pictures.of !== key) {
      for (const old of pictures.made) URL.revokeObjectURL(old.src);
      Object.assign(pictures, { of: key, made: [] });
      look(id, key, place);
    } else place.append(...pictures.made);
  }
  return place;
}

async function look(id, key, place) {
  try {
    const found = await (await ask(`api/v1/bots/${encodeURIComponent(id)}/get_screenshots`)).json();
    if (pictures.of !== key) return;
    for (const one of (found.screenshots || []).filter((each) => each.data)) {
      const bytes = Uint8Array.from(atob(one.data), (char) => char.charCodeAt(0));
      const image = el("img", { alt: `What the page showed: ${one.name} of attempt ${one.attempt}` });
      image.src = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
      pictures.made.push(image);
    }
    place.append(...pictures.made);
  } catch { /* no picture was kept; the bundle says why */ }
}

// A look into its page: pictures while somebody looks, which are stored nowhere

let gaze = { id: "", place: null, abort: null };

function lookInto(id, name) {
  if (gaze.id === id && gaze.place) return gaze.place;
  const says = el("p", { role: "status", class: "quiet" });
  const image = el("img", { alt: `What ${name} shows now`, hidden: "" });
  const toggle = el("button", { type: "button", id: "look" }, "Look at its page");
  const place = el("div", { class: "look" }, toggle, says, image);
  gaze = { id, place, abort: null, image, says, toggle };
  toggle.addEventListener("click", async () => {
    if (gaze.abort) return lookAway();
    if (await sure(`Look at what ${name} sees? It shows the people in the meeting. It is written down that you looked.`, "Look")) watchPage(id, gaze);
  });
  return place;
}

async function watchPage(id, mine) {
  const abort = (mine.abort = new AbortController());
  say(mine.toggle, "Look away");
  say(mine.says, "Asking its agent…");
  let why = "No more pictures come.";
  try {
    const answer = await fetch(`page/bots/${encodeURIComponent(id)}/look`, { headers: headers(), signal: abort.signal, cache: "no-store" });
    if (!answer.ok) throw new Error((await answer.json()).message);
    for await (const part of parts(answer)) {
      if (!part.startsWith("data: ")) continue;
      const told = JSON.parse(part.slice(6));
      if (told.over) break;
      show(mine, told);
    }
  } catch (error) {
    why = error instanceof TypeError ? "Cut off." : error.message;
  }
  if (mine.abort === abort) lookAway(mine, why);
}

function show(mine, told) {
  if (!told.jpeg) return say(mine.says, `No picture: ${told.why}.`);
  const bytes = Uint8Array.from(atob(told.jpeg), (char) => char.charCodeAt(0));
  const before = mine.image.src;
  mine.image.src = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  if (before) URL.revokeObjectURL(before);
  mine.image.hidden = false;
  say(mine.says, `Of ${clock(told.at)} UTC, by ${told.worker}.`);
}

function lookAway(mine = gaze, why = "") {
  if (!mine.abort) return;
  mine.abort.abort();
  mine.abort = null;
  say(mine.toggle, "Look at its page");
  say(mine.says, why);
  mine.image.hidden = true;
  URL.revokeObjectURL(mine.image.src);
  mine.image.removeAttribute("src");
}

addEventListener("visibilitychange", () => { if (document.hidden) lookAway(); });

async function save(id, one) {
  try {
    const file = await (await ask(`api/v1/bots/${encodeURIComponent(id)}/evidence?attempt=${one.attempt}`)).blob();
    const link = el("a", { download: `${one.name}.zip` });
    link.href = URL.createObjectURL(file);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    cut(error.message);
  }
}

// A VM

async function vmPage(id) {
  const data = await (await ask(`page/vms/${encodeURIComponent(id)}`)).json();
  const made = { ...data, now: 0 };
  return { data: made, make: () => makeVmPage(id, data) };
}

function makeVmPage(id, data) {
  const { vm, workers, vitals } = data;
  const at = `page/vms/${encodeURIComponent(id)}/drain`;
  const wish = (draining) => () => ask(at, { method: "POST", body: JSON.stringify({ draining }) });
  const used = vitals ? vitals.total_mb - vitals.available_mb : 0;
  const meter = vitals && el("meter", { min: 0, max: vitals.total_mb, value: used, high: vitals.total_mb - vitals.reserve_mb, "aria-label": "Memory in use" });
  return some(
    el("h1", { tabindex: "-1" }, `VM ${id}`),
    el("p", { class: vm.state !== "up" ? "bad" : "" }, vm.draining && vm.state !== "draining" ? `${vm.state}, and to drain` : vm.state),
    STATE_MEANS[vm.state] ? el("p", {}, STATE_MEANS[vm.state]) : null,
    vm.out ? el("p", {}, `The manager took it out by itself: ${vm.out}`) : null,
    vm.state === "up" && !vm.workers.idle ? el("p", {}, "No worker is idle here.", vm.workers.warming ? "" : " None is warming, either: it is full, has no memory beside its reserve, or its warm-ups failed and are tried again later.") : null,
    el("p", { class: "actions" }, vm.draining
      ? button("undo", "Take bots again", `Give bots to ${id} again?`, "Take bots again", wish(false))
      : button("drain", "Drain", `Drain ${id}? It gets no further bots; its meetings go on to their end.`, "Drain", wish(true))),
    el("h2", {}, "Memory"),
    vitals
      ? el("p", {}, meter, ` ${used} of ${vitals.total_mb} MB in use; warm-ups leave ${vitals.reserve_mb} MB alone. By the agent's word of ${clock(vitals.at)} UTC.`)
      : el("p", { class: "quiet" }, "Its agent has not said of late."),
    el("h2", {}, `Workers (${workers.length})`),
    grid("Workers", ["Worker", "State", "For", "Bot", "Memory", "Processors"], workers.map((worker) => {
      const takes = vitals?.workers[worker.worker_id];
      const bot = data.bots[worker.bot_id];
      return [
        worker.worker_id, el("span", {}, el("span", { class: `run ${worker.state} one`, "aria-hidden": "true" }), ` ${worker.state}`), span(data.now - worker.since),
        worker.bot_id ? el("span", {}, botLink(worker.bot_id, bot?.name), bot ? `, ${WHERE[bot.state] || bot.state}` : "") : "",
        takes?.memory_mb ? `${takes.memory_mb} MB` : "", takes ? (takes.processors || 0).toFixed(2) : "",
      ];
    })) || el("p", { class: "quiet" }, "None."),
  );
}

// Searching

async function searchPage(text) {
  const data = await (await ask(`page/search?q=${encodeURIComponent(text)}`)).json();
  return { data, make: () => some(
    el("h1", { tabindex: "-1" }, `Found for “${text}”`),
    data.vms.length ? [el("h2", {}, "VMs"), el("ul", {}, ...data.vms.map((id) => el("li", {}, vmLink(id))))] : null,
    data.bots.length ? [el("h2", {}, "Bots"), grid("Bots", ["Bot", "Id", "Platform", "Where"], data.bots.map((bot) => [botLink(bot.id, bot.name), bot.id, bot.platform, bot.state === "stopped" ? `${bot.status}: ${bot.reason}` : WHERE[bot.state] || bot.state]))] : null,
    data.rejected ? el("p", { class: "bad" }, `The job of that bot was rejected: ${data.rejected}. It never became a bot.`) : null,
    data.vms.length || data.bots.length || data.rejected ? null : el("p", {}, "Nothing. Looked for: names and ids of bots that live or are new, ids of VMs; whole: bot ids, users, calendar events, status words."),
  ) };
}

// The pages that are loaded on request: the manager's own probes, and who did what

async function seePage(what) {
  const see = Object.hasOwn(SEE, what) ? SEE[what] : null;
  if (!see) throw new Error("There is no such page.");
  const data = await (await ask(`page/${what}`)).json();
  return { data, make: () => see(data) };
}

const MARKS = { joined: "+", refused: "r" };
const SEE = {
  probes: (links) => some(
    el("h1", { tabindex: "-1" }, "Probes"),
    links.length
      ? grid("Probes", ["Probe", "Platform", "Latest", "Outcome", "Page", "New on it", "Joined in", "History"], links.map(({ name, runs }) => {
        const run = runs[0];
        if (!run) return [name, "", "", "none yet", "", "", "", ""];
        return [
          name, run.platform, el("span", {}, botLink(run.bot_id, moment(run.at))),
          el("span", { class: run.outcome === "joined" ? "good" : "bad" }, run.reason && run.outcome !== "joined" ? `${run.outcome}: ${run.reason}` : run.outcome),
          run.changed ? el("span", { class: "bad" }, "changed") : "as before", run.new_steps.join(", "),
          run.join_s === null ? "" : span(run.join_s), runs.map((one) => (one.changed ? "!" : MARKS[one.outcome] || "x")).join(""),
        ];
      }))
      : el("p", {}, "Nothing is probed: [probes] links in the configuration names meetings of your own."),
    el("p", { class: "quiet" }, "History, the newest first: + joined, r refused, x anything else, ! where the page had changed. Times are UTC."),
  ),
  actions: (actions) => some(
    el("h1", { tabindex: "-1" }, "Who did what"),
    grid("Who did what", ["At", "Who", "What", "Of", "Detail"], actions.map((one) => [moment(one.at), one.who, one.what.replaceAll("_", " "), one.of, one.detail]))
      || el("p", {}, "Nobody did anything yet."),
    el("p", { class: "quiet" }, "The latest 200, by the API, this page and the command line; ", el("code", {}, "poolmgr actions"), " shows all."),
  ),
};

// The token: typed once, kept in this tab

function forget(why = "") {
  sessionStorage.removeItem(KEY);
  line?.abort();
  lookAway();
  clearInterval(route?.timer);
  route = me = null;
  watched = "";
  for (const id of ["fleet", "detail", "search", "forget"]) $(id).hidden = true;
  vms.clear(); bots.clear(); hour.clear(); head = null; seen = 0;
  $("sign-in").hidden = false;
  say($("connection"), "");
  $("connection").classList.remove("cut");
  say($("refused"), why);
  $("token").value = "";
  $("token").focus();
}

// `typed`: nobody has let this token in yet. One that was let in before is shown the fleet at once.
async function enter(typed) {
  if (!typed) begin();
  try {
    me = await (await ask("page/me")).json();
  } catch (error) {
    if (error instanceof Refused) return forget(error.message);
    cut(error.message);
    setTimeout(enter, 2000, typed);
    return;
  }
  say($("forget"), `Forget the token (${me.name}${me.role === "read" ? ", reads only" : ""})`);
  begin();
}

let watched = "";

function begin() {
  $("sign-in").hidden = true;
  $("search").hidden = $("forget").hidden = false;
  const token = sessionStorage.getItem(KEY);
  if (watched !== token) {
    watched = token;
    watch();
  }
  dirty.head = true;
  soon();
  if (!route || (me && route.of)) go(); // the pages of bots and VMs have the buttons that the token allows
}

$("forget").addEventListener("click", () => forget());
$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  if (!/^[\x21-\x7e]{1,512}$/.test(token)) return say($("refused"), "A token has no spaces, and only plain characters.");
  sessionStorage.setItem(KEY, token);
  say($("refused"), "");
  enter(true);
});

if (sessionStorage.getItem(KEY)) enter(false);
else forget();
