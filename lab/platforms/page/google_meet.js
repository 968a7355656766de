// Google Meet, as facts 1.1 to 1.7 describe it.
import { escape, play } from "/-/page/stage.js";

const JOIN = {
  lobby: ["Ask to join", "Ask to join anyway", "Ask to join"],
  open: ["Join now", "Join anyway", "Join here too", "Switch here", "Join the call now", "Join meeting", "Enter meeting"],
};
const LOBBY = [
  "Asking to be let in...",
  "You'll join the call when someone lets you in",
  "Please wait until a meeting host brings you into the call",
  "You'll join the call when someone admits you to the call",
  "Asking to join",
  "Your request to join was sent. Waiting to be let in",
];
const RECAPTCHA = `<iframe title="reCAPTCHA" src="https://www.google.com/recaptcha/enterprise/anchor?ar=1&size=invisible"
  style="width:256px;height:60px;visibility:hidden;position:fixed;right:-186px;bottom:14px"></iframe>`;

const device = (kind, { [kind]: on }) => kind === "microphone"
  ? `<button data-do="microphone" jsname="hw0c9" class="VYBDae" aria-label="Turn ${on ? "off" : "on"} microphone" data-is-muted="${!on}">mic</button>`
  : `<div role="button" tabindex="0" data-do="camera" jsname="psRWwc" class="U26fgb" aria-label="Turn ${on ? "off" : "on"} camera" data-is-muted="${!on}">cam</div>`;

const notice = (title, more = "", home = "Return to home screen") => `<div class="roSPhc" jsname="r4nke"><h1 class="roSPhc">${title}</h1>
  <p>${more}</p><button jsname="dqt8Pb"><span>${home}</span></button></div>`;
const notices = (...titles) => titles.map((title) => notice(title));

const tile = ({ id, name }, { me, speaking }) => `<div class="tile oZRSLe" data-participant-id="spaces/QXCh/devices/${id}"
  ${id === me ? `data-self-name="${escape(name)}"` : ""} data-audio-level="${speaking.has(id) ? 7 : 0}">
  <div class="IisKdb ${speaking.has(id) ? "Oaajhc HX2H7" : "gjg47c"}"></div><span class="notranslate zWGUib">${escape(name)}</span>
  ${id === me ? `<button aria-label="Backgrounds and effects">fx</button>` : ""}</div>`;

const bar = (state, inside) => `<div class="toolbar" role="region" aria-label="Call controls">
  ${device("microphone", state)} ${device("camera", state)} ${inside}
  <button jsname="CQylAd" aria-label="Leave call" data-do="${inside ? "leave" : "cancel"}">leave</button></div>`;

const meet = {
  name: "google_meet",
  device,
  code: ({ pathname }) => pathname.split("/")[1],
  title: (screen, { code }) => (["left", "removed", "ended"].includes(screen) ? "Meet" : `Meet - ${code}`),
  begin: ({ root }) => root.querySelector("[data-part=main]").insertAdjacentHTML("beforebegin", RECAPTCHA),
  slots: {
    tiles: (state) => (state.flickering ? "" : state.people.map((one) => tile(one, state)).join("")) +
      `<div class="tile" data-participant-id="effects" aria-label="Backgrounds and effects">Backgrounds and effects</div>`,
    count: ({ people, flickering }) => `<button data-do="panel:people" data-panel-id="1" jsname="A5il2e"
      aria-label="People - ${flickering ? 0 : people.length} joined">People <span data-avatar-count="${people.length}">${people.length}</span></button>`,
    people: ({ people, flickering, open }) => flickering || !open.has("people") ? "" : `<div role="list" aria-label="Participants">${people
      .map(({ id, name }) => `<div role="listitem" aria-label="${escape(name)}" data-participant-id="spaces/QXCh/devices/${id}"><span class="zWGUib">${escape(name)}</span></div>`).join("")}</div>`,
    cc: ({ captioned }) => `<button data-do="captions" aria-label="Turn ${captioned ? "off" : "on"} captions">cc</button>`,
    captions: ({ captions, captioned, wording }) => !captioned ? "" : `<div role="region" aria-label="Captions" class="vNKgIf">${[...captions.values()].map(({ name, text }) => wording % 2
      ? `<div class="q1"><div class="q2"><img alt=""><span>${escape(name)}</span></div><div><span>${escape(text)}</span></div></div>`
      : `<div class="nMcdL"><div class="adE6rb"><img alt="" class="Z6byG"><div class="KcIKyf"><span class="NWpY1d">${escape(name)}</span></div></div><div class="ygicle">${escape(text)}</div></div>`).join("")}</div>`,
    lines: ({ lines, me, open }) => open.has("chat") ? lines.map(({ id, from, name, text }) => `<div class="Ss4fHf" jsname="Ypafjf" data-message-id="${id}"
      data-sender-id="${from}" ${from === me ? "data-is-own" : ""}><div class="poVWob">${from === me ? "You" : escape(name)}</div><div jsname="dTKtvb"><div>${escape(text)}</div></div></div>`).join("") : "",
  },
  screens: {
    prejoin: [0, 1, 2, 3, 4, 5, 6].map((wording) => (state) => {
      const labels = JOIN[state.entry];
      return `<div class="prejoin"><div>${device("microphone", state)}${device("camera", state)}</div>
        <h2>What's your name?</h2>
        <input data-field="name" type="text" jsname="YPqjbf" class="qdOxv-fmcmS-wGMbrd" aria-label="Your name" placeholder="Your name" maxlength="60" autocomplete="name">
        <button jsname="Qx7uuf" class="UywwFc-LgbsSe" data-do="join" disabled><span jsname="V67aGc">${labels[wording % labels.length]}</span></button>
        <button jsname="IbE0S"><span>Other ways to join</span></button></div>`;
    }),
    lobby: LOBBY.map((text) => (state) => `<div class="lobby">
      <div class="tile" data-participant-id="spaces/QXCh/devices/self" data-self-name="${escape(state.name)}"><span class="notranslate">${escape(state.name)}</span></div>
      <p jsname="v62Zsb">${state.host ? text : "Waiting for the host to join"}</p>
      <button aria-label="Meeting details">details</button>${bar(state, "")}</div>`),
    meeting: [(state) => `<div class="call"><div data-slot="tiles"></div><div data-slot="captions"></div>
      <div class="panel" data-panel="chat" role="region" aria-label="Chat" hidden><div aria-live="polite" data-slot="lines"></div>
        <textarea data-field="chat" jsname="YPqjbf" aria-label="Send a message" placeholder="Send a message"></textarea>
        <button data-do="send" jsname="SoqoBf" aria-label="Send a message">send</button></div>
      <div class="panel" data-panel="people" role="region" aria-label="People" hidden><div data-slot="people"></div></div>
      <span data-slot="count"></span>
      ${bar(state, `<span data-slot="cc"></span><button aria-label="Raise hand (ctrl + alt + h)">hand</button>
        <button aria-label="Send a reaction">react</button><button aria-label="Share screen"><span>Present now</span></button>
        <button aria-label="More options" jsname="NakZHc">more</button>`)}
      <button aria-label="Chat with everyone" data-do="panel:chat" data-panel-id="2">chat</button>
      <button aria-label="Meeting details">details</button><button aria-label="Meeting tools">tools</button></div>`],
    denied: notices("Someone in the call denied your request to join", "You were denied entry to the call", "You weren't allowed to join this call"),
    ask_again: [`<div><h1>You can ask again</h1><button data-do="show:prejoin"><span>Ask to join again</span></button></div>`],
    no_answer: notices("No one responded to your request to join the call"),
    blocked: notices("You can't join this video call", "You can't join this meeting"),
    refused: notices("There is a problem connecting to this video call", "Sorry, we encountered a problem joining this video call"),
    not_found: notices("Check your meeting code", "Invalid video call name", "Your meeting code has expired", "The meeting code you entered doesn't work"),
    sign_in: [`<h1>Sign in</h1><p>to continue with your Google Account</p>`, notice("Your sign-in credentials might have changed")],
    full: notices("This meeting is full", "The meeting is full. You can't join right now"),
    removed: notices("You've been removed from the meeting", "You were removed from the meeting", "Removed from meeting"),
    ended: notices("Your host ended the meeting for everyone", "Meeting ended", "Call ended", "The call ended"),
    left: [`<div class="roSPhc"><h1>You left the meeting</h1><button>Rejoin</button><button>Return to home screen</button></div>`,
      `<div class="roSPhc"><h1>You've left the call</h1><button>Rejoin</button><button>Return to home</button></div>`],
    captcha: [`<div><p>One more step</p><iframe title="reCAPTCHA" src="https://www.google.com/recaptcha/enterprise/bframe?k=1" width="304" height="78"></iframe></div>`],
  },
  popups: {
    got_it: `<div role="dialog" aria-label="Tip"><p>Others may see your video differently</p><button data-do="close"><span>Got it</span></button></div>`,
    dismiss: `<div role="dialog"><p>Get the most out of Meet</p><button data-do="close"><span>Dismiss</span></button></div>`,
    no_account: `<div role="dialog"><p>Sign in for a better meeting</p><button><span>Sign in</span></button><button data-do="close"><span>Use without an account</span></button></div>`,
    no_devices: `<div role="dialog"><p>Do you want people to hear and see you in the meeting?</p><button data-do="close"><span>Continue without microphone and camera</span></button></div>`,
    second_join: `<div role="dialog" aria-label="Preview"><p>Ready to join?</p><button data-do="close"><span>Join now</span></button></div>`,
    recording: `<div role="dialog" aria-modal="true"><h2>This call is being recorded</h2><p>By joining, you consent to being recorded</p><button data-do="leave"><span>Leave call</span></button><button data-do="close"><span>Join now</span></button></div>`,
    gemini_agree: `<div role="dialog" aria-modal="true"><p>A transcript of this call will be shared with the host</p><button data-do="leave">No thanks</button><button data-do="close">Agree and continue</button></div>`,
    gemini: `<div role="dialog" aria-modal="true"><h2>Gemini is taking notes</h2><p>Take notes with Gemini is on for this call</p><button data-do="leave"><span>Leave call</span></button><button data-do="close"><span>Join now</span></button></div>`,
    missing_device: `<div role="dialog" data-aside><p>Microphone not found</p><button data-do="close" aria-label="Close">x</button></div>`,
    overlay: `<div data-disable-esc-to-close="true" role="dialog"><p>Your meeting is safe</p><button data-do="close"><span>Got it</span></button></div>`,
  },
};
await play(meet);
