// What all platforms' pages have in common: the moments of a page, drawing them late or hidden, losing clicks, turning
// to a screen or a pop-up when the scenario says so, and misbehaving. A platform's own module says what they look like:
//
//   name, code(location)      which platform, and which meeting the address is of
//   title(screen)             of the document
//   screens: { NAME: [html or (state) => html, …] }   one for each wording; a moment's name is a screen, too
//   popups: { NAME: html }    what lies over the page until something with data-do="close" in it is clicked
//   slots: { NAME: (state) => html }    parts of the meeting that change: drawn into [data-slot=NAME]
//   begin(stage)              optional: before anything is drawn. changed(stage): whenever the meeting changed
//   whenLeft(stage)           optional: what shows after leaving; the screen "left" without
//
// Buttons say what they do by data-do, fields what they hold by data-field. No bot knows these: real pages have none.
import { Call } from "/-/page/call.js";

const FLICKER_EVERY_MS = 1000;
const FLICKER_MS = 250;
const TOOLBAR_MS = 1500;
const NONSENSE = "<h1>This page is under construction</h1>";
const wait = (ms) => new Promise((go) => setTimeout(go, ms));

export const escape = (text) => String(text).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);

export async function play(platform) {
  const code = platform.code(location) || "none";
  const again = window.top !== window;
  const path = `${platform.name}/${encodeURIComponent(code)}`;
  const answer = await fetch(`/-/scenario/${path}${again ? "?again" : ""}`);
  const { scenario, load, host_is_here: host } = await answer.json();
  if (scenario.layout.includes("frame") && !again) return frame();
  return new Stage(platform, path, scenario, load, host).begin();
}

function frame() {
  const frame = document.createElement("iframe");
  frame.id = "webclient";
  frame.className = "pwa-webclient__iframe";
  frame.allow = "camera; microphone; autoplay; display-capture";
  frame.src = location.href;
  document.body.append(frame);
}

class Stage {
  constructor(platform, path, scenario, load, host) {
    Object.assign(this, { platform, path, scenario, load });
    this.state = {
      host, name: "", microphone: true, camera: true, people: [], me: "", lines: [], speaking: new Set(), captions: new Map(), captioned: false,
      wording: scenario.wording, entry: scenario.entry, open: new Set(), flickering: false, code: path.split("/")[1],
    };
    this.moment = "load";
    this.timers = [];
    this.deafUntil = 0;
    this.triedPasscode = "";
  }

  async begin() {
    this.root = document.body;
    if (this.scenario.layout.includes("shadow")) {
      const shell = document.createElement("client-shell");
      document.body.append(shell);
      this.root = shell.attachShadow({ mode: "open" });
      this.root.innerHTML = `<link rel="stylesheet" href="/-/page/pages.css">`;
    }
    this.main = this.#part("main", "main");
    this.popups = this.#part("div", "popups");
    for (const type of ["click", "input", "keydown"]) this.root.addEventListener(type, (event) => this.#handle(event));
    document.addEventListener("mousemove", () => this.#showToolbar());
    this.call = new Call(this.path, (message) => this.#hear(message), {
      sendsMedia: this.scenario.sends_media, plays: this.scenario.plays,
    });
    if (this.scenario.weight_mb) await this.#load(`/-/heavy.js?mb=${this.scenario.weight_mb}`);
    this.platform.begin?.(this);
    if (this.#enter("load")) await this.show("prejoin");
  }

  #part(tag, name) {
    const part = document.createElement(tag);
    part.dataset.part = name;
    this.root.append(part);
    return part;
  }

  #load(address) {
    return new Promise((done) => {
      const script = document.createElement("script");
      Object.assign(script, { src: address, onload: done, onerror: done });
      document.head.append(script);
    });
  }

  // ---- moments ----

  // Starts the turns of a moment. False when one of them took the page somewhere else at once.
  #enter(moment) {
    this.moment = moment;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = [];
    let goesOn = true;
    if (this.scenario.loads && this.load > this.scenario.loads) return true;
    for (const turn of this.scenario.turns.filter(({ at }) => at === moment)) {
      if (turn.after_ms) this.timers.push(setTimeout(() => this.turn(turn.to), turn.after_ms));
      else if (!this.turn(turn.to)) goesOn = false;
    }
    return goesOn;
  }

  // Shows a moment, or a screen of the platform.
  async show(name) {
    const isMoment = ["prejoin", "lobby", "meeting"].includes(name);
    if (isMoment && name === "prejoin" && this.platform.skipsPrejoin?.(this)) return this.join();
    if (isMoment && this.scenario.render_ms) await wait(this.scenario.render_ms);
    if (isMoment && !this.#enter(name)) return;
    this.draw(name);
    this.deafUntil = performance.now() + this.scenario.deaf_ms;
    if (name === "meeting") this.#beInMeeting();
  }

  draw(name) {
    const [screen, wording = this.scenario.wording] = name.split("#"); // NAME#NUMBER: in that wording
    const wordings = { nonsense: [NONSENSE], ...this.platform.screens }[screen];
    if (!wordings) throw new Error(`no screen ${name}`);
    const chosen = wordings[wording % wordings.length];
    document.title = this.platform.title?.(screen, this.state) ?? "";
    this.#fill(this.main, typeof chosen === "function" ? chosen(this.state) : chosen);
    this.shown = screen;
    const join = this.main.querySelector("[data-do=join]");
    if (this.scenario.covered && join) {
      const box = document.createElement("span");
      box.className = "covered";
      join.replaceWith(box);
      box.append(join, Object.assign(document.createElement("span"), { className: "veil preview-meeting-info" }));
    }
    this.#enable();
    this.refresh();
  }

  popup(name) {
    const box = document.createElement("div");
    box.dataset.popup = name;
    box.className = this.platform.popups[name].includes("data-aside") ? "aside" : "";
    this.#fill(box, this.platform.popups[name]);
    this.popups.append(box);
  }

  // False when the page is elsewhere after it.
  turn(to) {
    const [what, ...rest] = to.split(":");
    const argument = rest.join(":");
    if (TROUBLE[what]) return TROUBLE[what](argument, this) ?? true;
    if (this.platform.popups[what]) {
      this.popup(what);
      return true;
    }
    this.show(what);
    return false;
  }

  #beInMeeting() {
    if (this.scenario.flickers) {
      setInterval(() => {
        this.state.flickering = true;
        this.refresh();
        setTimeout(() => {
          this.state.flickering = false;
          this.refresh();
        }, FLICKER_MS);
      }, FLICKER_EVERY_MS);
    }
    if (this.scenario.hides_toolbar) this.#hideToolbar();
  }

  #hideToolbar() {
    for (const toolbar of this.main.querySelectorAll(".toolbar, [data-toolbar]")) toolbar.classList.add("hides");
  }

  #showToolbar() {
    if (!this.scenario.hides_toolbar || this.moment !== "meeting") return;
    for (const toolbar of this.main.querySelectorAll(".hides")) toolbar.classList.remove("hides");
    clearTimeout(this.hiding);
    this.hiding = setTimeout(() => this.#hideToolbar(), TOOLBAR_MS);
  }

  // The parts that change, and only those: what somebody types stays.
  refresh() {
    for (const place of this.root.querySelectorAll("[data-slot]")) {
      const html = this.platform.slots[place.dataset.slot](this.state);
      if (place.drawn !== html) this.#fill(place, html);
      place.drawn = html;
    }
    for (const panel of this.root.querySelectorAll("[data-panel]")) panel.hidden = !this.state.open.has(panel.dataset.panel);
    this.platform.changed?.(this);
  }

  // ---- drawing ----

  #fill(place, html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const { layout } = this.scenario;
    if (layout.includes("curly")) curl(template.content);
    if (layout.includes("renamed")) rename(template.content);
    if (layout.includes("moved")) move(template.content);
    place.replaceChildren(template.content);
  }

  #enable() {
    const name = this.main.querySelector("[data-field=name]");
    const join = this.main.querySelector("[data-do=join]");
    if (!join) return;
    const off = join.hasAttribute("data-off") || (name && !name.value.trim());
    join.toggleAttribute("disabled", Boolean(off));
    join.classList.toggle("disabled", Boolean(off));
    join.setAttribute("aria-disabled", String(Boolean(off)));
  }

  // ---- what people do to the page ----

  #handle(event) {
    const target = event.composedPath().find((node) => node instanceof Element);
    if (event.type === "input") return this.#enable();
    if (event.type === "keydown") {
      if (event.key === "Enter" && target.matches("[data-field=chat]") && !event.shiftKey) {
        event.preventDefault();
        this.#send();
      }
      if (event.key === "Enter" && target.matches("[data-field=name]")) this.#do("join", this.main.querySelector("[data-do=join]"));
      return undefined;
    }
    const button = target.closest("[data-do]");
    if (!button) return undefined;
    event.preventDefault();
    if (performance.now() < this.deafUntil) {
      this.isDeaf = true;
      return this.call.note(`lost a click on ${button.dataset.do}`);
    }
    if (this.isDeaf && button.dataset.do === "join") {
      this.isDeaf = false;
      this.call.note(`heard again after ${Math.round(performance.now() - this.deafUntil)}`);
    }
    return this.#do(button.dataset.do, button);
  }

  #do(what, button) {
    if (button.matches(".disabled, [disabled]")) return;
    const [verb, argument] = what.split(":");
    this.call.note(`clicked ${what}`);
    if (verb === "join") {
      this.call.note(`could be pressed for ${Math.round(performance.now() - this.deafUntil)} ms`);
      this.join();
    } else if (verb === "close") this.#close(button, argument);
    else if (verb === "microphone" || verb === "camera") this.#toggle(verb);
    else if (verb === "panel") this.#togglePanel(argument);
    else if (verb === "send") this.#send();
    else if (verb === "popup") this.popup(argument);
    else if (verb === "leave" || verb === "cancel") this.leave();
    else if (verb === "captions") this.turnCaptions(argument);
    else if (verb === "passcode") this.#tryPasscode();
    else if (verb === "go") location.assign(argument.replaceAll("|", ":"));
    else if (verb === "show") this.show(argument);
    else throw new Error(`no such verb: ${what}`);
  }

  #close(button, argument) {
    button.closest("[data-popup]").remove();
    if (argument) this.turn(argument);
    this.closed?.();
  }

  // Captions are on from now on, or off. `menu`: the menu in which that was chosen, which closes.
  turnCaptions(menu) {
    if (menu) this.state.open.delete(menu);
    if (!this.scenario.captions) return this.refresh();
    this.state.captioned = !this.state.captioned;
    this.state.captions.clear();
    this.call.note(`turned captions ${this.state.captioned ? "on" : "off"}`);
    return this.refresh();
  }

  // A switch is moved to on by another person, or by the page itself.
  switchOn(device) {
    this.state[device] = true;
    this.call.note(`switched on by somebody: ${device}`);
    this.draw("meeting");
  }

  #toggle(device) {
    if (this.isStuck) return;
    this.state[device] = !this.state[device];
    if (this.moment === "meeting") this.call.note(`switched ${this.state[device] ? "on" : "off"} in the meeting: ${device}`);
    for (const button of this.root.querySelectorAll(`[data-do=${device}]`)) {
      const html = this.platform.device(device, this.state);
      const template = document.createElement("template");
      template.innerHTML = html;
      if (this.scenario.layout.includes("renamed")) rename(template.content);
      button.replaceWith(template.content);
    }
  }

  #togglePanel(name) {
    if (!this.state.open.delete(name)) this.state.open.add(name);
    this.refresh();
  }

  #send() {
    const field = this.root.querySelector("[data-field=chat]");
    const text = field.value ?? field.innerText;
    if (!text.trim()) return;
    this.call.say(text);
    if (field.value === undefined) field.textContent = "";
    else field.value = "";
  }

  #tryPasscode() {
    const given = this.main.querySelector("[data-field=passcode]").value;
    this.triedPasscode = given;
    if (given === this.scenario.passcode) this.join();
    else this.show("passcode_wrong");
  }

  async join() {
    if (this.moment === "join" || this.moment === "lobby" || this.moment === "meeting") return;
    const field = this.main.querySelector("[data-field=name]");
    this.state.name = field?.value.trim() || this.state.name || this.platform.nameOf?.(location) || "Signed in";
    const given = this.main.querySelector("[data-field=passcode]")?.value ?? this.platform.passcodeOf?.(location) ?? "";
    if (!this.#enter("join")) return;
    while (this.popups.querySelector("[data-popup]:not(.aside)")) await new Promise((go) => { this.closed = go; });
    if (this.platform.screens.joining) this.draw("joining");
    if (this.scenario.join_ms) await wait(this.scenario.join_ms);
    if (this.moment !== "join") return;
    if (this.scenario.passcode && given !== this.scenario.passcode && this.triedPasscode !== this.scenario.passcode) {
      this.moment = "prejoin";
      this.show(given ? "passcode_wrong" : "passcode");
      return;
    }
    this.call.note(`joined with microphone ${this.state.microphone} camera ${this.state.camera}`);
    const own = this.state.microphone || this.state.camera ? await devices(this.state) : new MediaStream();
    this.call.join(this.state.name, own);
  }

  leave() {
    if (this.moment === "over") return;
    this.call.note("left");
    this.over();
    this.popups.replaceChildren();
    if (this.platform.whenLeft) this.platform.whenLeft(this);
    else this.show("left");
  }

  // A message that somebody wrote, as pages show it for a while when the chat is not open. The wording says how.
  quote(text) {
    const quoted = QUOTES[this.scenario.wording % QUOTES.length](escape(text), "Ann");
    const box = Object.assign(document.createElement("div"), { className: "aside", innerHTML: quoted });
    this.popups.append(box);
  }

  fill(html) {
    this.#fill(this.main, html);
    this.shown = "";
  }

  over() {
    this.#enter("over");
    this.call.leave();
    this.state.people = [];
  }

  // ---- what the meeting says ----

  #hear(message) {
    const { state } = this;
    if (this.moment === "over") return;
    if (message.type === "waiting") {
      this.show("lobby");
    } else if (message.type === "meeting") {
      Object.assign(state, { people: message.participants, me: message.you });
      if (this.moment !== "meeting") this.#admitted();
      else this.refresh();
    } else if (message.type === "said") {
      state.lines.push(message);
      this.refresh();
    } else if (message.type === "speaks") {
      if (message.on) state.speaking.add(message.id);
      else state.speaking.delete(message.id);
      this.refresh();
    } else if (message.type === "captioned") {
      if (message.text) state.captions.set(message.id, message);
      else state.captions.delete(message.id);
      if (state.captioned) this.refresh();
    } else if (message.type === "host") {
      state.host = true;
      if (this.moment === "lobby") this.draw("lobby");
    } else if (message.type === "turn") {
      this.turn(message.to);
    } else if (message.type === "end") {
      this.over();
      this.popups.replaceChildren();
      this.show(message.reason);
    } else if (message.type === "lost") {
      this.turn("lost");
    }
  }

  #admitted() {
    this.moment = "meeting";
    this.show("meeting");
  }
}

// ---- what a rule does not know ----

const QUOTES = [
  (text, who) => `<div class="note notification-x1" role="alert"><b>${who}</b><p>${text}</p></div>`,
  (text, who) => `<section class="bubble"><h4>${who}</h4><span>${text}</span></section>`,
  (text, who) => `<div aria-live="polite"><div role="dialog" aria-label="New message"><h2>${text}</h2><small>${who}</small></div></div>`,
  (text, who) => `<div role="dialog"><p>${who}: <em>${text}</em></p><textarea placeholder="Answer"></textarea></div>`,
  (text) => `<div class="q7"><div role="heading" aria-level="3">${text}</div></div>`,
];
// A sentence that no rule has.
const ODD_ENDS = [
  `<div role="dialog"><h2>Ann hat dich hinausgeworfen</h2><button>Weiter</button></div>`,
  `<div class="k1"><p>That is all for today, folks</p><button>Rejoin now</button><button>Tell us more</button></div>`,
];

// ---- trouble ----

const TROUBLE = {
  alert: (text) => { alert(text || "Something wants your attention"); },
  endless: () => { for (;;); },
  memory: (mb) => {
    globalThis.eaten = [];
    for (let at = 0; at < Number(mb); at += 16) globalThis.eaten.push(new Uint8Array(16 * 1024 * 1024).fill(at + 1));
  },
  nodes: (count) => {
    const box = document.createElement("div");
    box.innerHTML = "<p><span>one</span> <b>of many</b></p>".repeat(Number(count) / 3);
    document.body.append(box);
  },
  navigate: (address) => { location.assign(address); return false; },
  quote: (text, stage) => stage.quote(text),
  captions: (_, stage) => { stage.turnCaptions(); },
  blank: (_, stage) => { stage.fill("<div><i></i></div>"); },
  splash: (_, stage) => { stage.fill(`<svg width="120" height="40"><rect width="120" height="40"></rect></svg>`); return false; },
  away: (ms, stage) => {
    stage.fill(`<div class="w3"><p>${["You are being moved to Breakout Room 2", "One moment, please"][stage.scenario.wording % 2]}</p></div>`);
    setTimeout(() => stage.show("meeting"), Number(ms));
  },
  stuck: (_, stage) => { stage.isStuck = true; },
  unmute: (device, stage) => stage.switchOn(device),
  appless: () => { delete globalThis.APP; },
  rewire: (_, stage) => stage.call.rewire(),
  vanish: (_, stage) => {
    stage.over();
    stage.popups.replaceChildren();
    stage.fill(ODD_ENDS[stage.scenario.wording % ODD_ENDS.length]);
  },
  reload: () => { location.reload(); return false; },
  lost: (_, stage) => {
    if (!stage.platform.screens.lost) return;
    stage.over();
    stage.draw("lost");
  },
};

// ---- devices ----

async function devices({ microphone: audio, camera: video }) {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio, video });
  } catch {
    return new MediaStream(); // a machine without a camera joins without one
  }
}

// ---- layouts ----

function curl(root) {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll("'", "’");
}

// Only what people recognise the page by stays: roles, labels, texts, types.
function rename(root) {
  let count = 0;
  for (const element of root.querySelectorAll("*")) {
    for (const { name } of [...element.attributes]) {
      const isOurs = ["data-do", "data-field", "data-slot", "data-panel", "data-off", "data-aside", "data-toolbar"].includes(name);
      if (name === "jsname" || name === "data-tid" || name === "data-testid" || name === "data-inp") element.removeAttribute(name);
      else if (name === "class" && !isOurs) element.className = `${element.matches(".toolbar") ? "toolbar " : ""}x${(count += 7).toString(36)}`;
    }
  }
}

// Other boxes around the same things, in another order.
function move(root) {
  for (const button of root.querySelectorAll("button")) {
    const inner = document.createElement("span");
    inner.append(...button.childNodes);
    button.append(inner);
  }
  const group = root.children.length === 1 ? root.firstElementChild : root;
  if (group.children?.length > 1 && !group.matches?.("button, table, ul")) group.append(...[...group.children].reverse());
  const outer = document.createElement("section");
  outer.append(...root.childNodes);
  root.append(outer);
}
