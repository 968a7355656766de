// Microsoft Teams in the browser, as facts 3.1 to 3.7 describe it.
import { escape, play } from "/-/page/stage.js";

const PERSONAL = location.host === "teams.live.com";
const LIGHT = location.pathname.startsWith("/light-meetings");
const LOBBY = [
  "Someone will let you in shortly",
  "Someone will let you in soon",
  "You're in the lobby",
  "Waiting for someone to let you in",
  "Your request to join has been sent",
  "Waiting to be admitted",
];
const device = (kind, { [kind]: on }) => kind === "microphone"
  ? `<div role="switch" tabindex="0" data-do="microphone" data-tid="toggle-mute" aria-checked="${on}" aria-label="Microphone" title="${on ? "Mute" : "Unmute"} mic">mic</div>`
  : `<div role="switch" tabindex="0" data-do="camera" data-tid="toggle-video" aria-checked="${on}" aria-label="Camera" title="Turn ${on ? "off" : "on"} camera">cam</div>`;
const hangup = [
  `<button id="hangup-button" data-tid="hangup-main-btn" data-inp="hangup-button" aria-label="Leave (Ctrl+Shift+H)" data-do="leave">Leave</button>`,
  `<button data-tid="hangup-main-btn" aria-label="Leave" data-do="leave">Leave</button>`,
  `<button id="microphone-hangup" data-inp="hangup-button" aria-label="Leave (Ctrl+Shift+H)" data-do="leave">Leave</button>`,
];
const calling = (title, more = "", buttons = "") => `<div data-tid="calling-screen" class="calling-screen"><h1 data-tid="calling-retry-title">${title}</h1><p>${more}</p>${buttons}</div>`;
const found = (text) => { let at = text; for (let i = 0; i < 3; i += 1) { try { at = decodeURIComponent(at); } catch { break; } } return at; };

const teams = {
  name: "teams",
  device,
  code({ href, search }) {
    const address = found(href);
    const coords = new URLSearchParams(search).get("coords");
    if (coords) {
      const { conversationId = "", meetingCode = "" } = JSON.parse(atob(coords.replaceAll("-", "+").replaceAll("_", "/")));
      return meetingCode || conversationId.match(/meeting_([\w-]+)@/)?.[1];
    }
    return address.match(/\/meet\/(\d{8,15})/)?.[1] ?? address.match(/19:meeting_([\w-]+)@thread/)?.[1];
  },
  passcodeOf: ({ href }) => found(href).match(/[?&]p=([^&#]*)/)?.[1] ?? "",
  title: () => "Meeting | Microsoft Teams",
  begin(stage) {
    // The launcher shows before the client, even if the address is that of the client.
    const isClient = location.pathname.startsWith("/v2") || LIGHT || location.search.includes("launched");
    if (!isClient) stage.scenario.turns = [{ at: "load", to: "launcher", after_ms: 0 }, ...stage.scenario.turns.filter(({ at }) => at !== "load")];
  },
  slots: {
    count: ({ people, flickering, wording }) => wording === 1 ? `<button id="roster-button" data-tid="roster-button" data-do="panel:people" aria-label="People">People</button>` : `<button id="roster-button" data-tid="roster-button" data-do="panel:people" aria-label="People${flickering ? "" : ` (${people.length})`}">People <span data-tid="toolbar-item-badge">${flickering ? "" : people.length}</span></button>`,
    people: ({ people, me, open, flickering }) => flickering || !open.has("people") ? "" : `<div role="tree" aria-label="Attendees">${people.map(({ id, name }) => `<div role="treeitem" data-tid="participantsInCall-${escape(name)}" id="participant-${id}"
      aria-label="${escape(name)}, ${id === me ? "you, " : "External unfamiliar, "}Unverified, muted"><span title="${escape(name)}">${escape(name)}</span></div>`).join("")}</div>`,
    videos: ({ people, me, speaking, flickering }) => flickering ? "" : people.map(({ id, name }) => `<div class="tile" role="menuitem" data-tid="${escape(name)}" data-stream-type="Video" data-cid="${id}" ${id === me ? `data-is-self="true"` : ""} aria-label="${escape(name)}, External unfamiliar">
      <div data-tid="voice-level-stream-outline" class="${speaking.has(id) ? "vdi-frame-occlusion" : ""}"></div><span data-tid="participant-info-nametag">${escape(name)}</span></div>`).join("") +
      (people.length === 1 ? `<p>You're the only one here</p>` : ""),
    captions: ({ captions, captioned }) => !captioned ? "" : `<div data-tid="closed-caption-renderer-wrapper" role="region" aria-label="Live Captions"><div>${[...captions.values()].map(({ name, text }) => `
      <div class="fui-ChatMessageCompact"><div><span data-tid="author">${escape(name)}</span></div><div><span data-tid="closed-caption-text">${escape(text)}</span></div></div>`).join("")}</div></div>`,
    lines: ({ lines, me, open }) => open.has("chat") ? lines.map(({ id, from, name, text }) => `<div data-tid="chat-pane-message" id="message-body-${id}" data-mid="${id}" role="group">
      <span data-tid="message-author-name">${from === me ? "You" : escape(name)}</span><div id="content-${id}" data-tid="chat-pane-message-content">${escape(text)}</div></div>`).join("") : "",
  },
  screens: {
    launcher: ["Continue on this browser", "Join on this browser"].map((label) => `<div><h1>How do you want to join your Teams meeting?</h1><button>Join on the Teams app</button>
      <button data-tid="joinOnWeb" aria-label="Join meeting from this browser" data-do="go:${launched()}">${label}</button></div>`),
    prejoin: [0, 1].map(() => (state) => `<div class="prejoin ${LIGHT ? "light" : "full"}"><h1>Join</h1>
      <input data-field="name" data-tid="prejoin-display-name-input" type="text" placeholder="Type your name" maxlength="50">
      <div>${device("microphone", state)}${device("camera", state)}<label><input type="radio" name="audio" checked> Computer audio</label><label><input type="radio" name="audio"> Don't use audio</label></div>
      <button id="prejoin-join-button" data-tid="prejoin-join-button" aria-label="Join now" data-do="join">Join now</button>
      <button data-tid="prejoin-cancel-button" data-do="cancel">Cancel</button></div>`),
    lobby: LOBBY.map((text) => ({ host, wording }) => `<div class="lobby" data-tid="lobby-screen"><h1>${host ? text : "Someone will let you in when the meeting starts"}</h1>
      ${wording % 2 ? `<button id="prejoin-join-button" data-tid="prejoin-join-button" disabled>Join now</button>` : ""}
      <button data-tid="prejoin-cancel-button" data-do="cancel">Cancel</button></div>`),
    meeting: hangup.map((button) => (state) => `<div class="call" data-tid="meeting-stage"><div data-slot="videos"></div><div data-slot="captions"></div>
      <div class="panel" data-panel="more" role="menu" hidden>${state.wording % 2 ? `<div role="menuitem" id="LanguageSpeechMenuControl-id" data-do="panel:speech">Language and speech</div>`
        : `<button id="closed-captions-button" role="menuitemcheckbox" data-do="captions:more">Captions</button>`}</div>
      <div class="panel" data-panel="speech" role="menu" hidden><div role="menuitemcheckbox" data-do="captions:speech">Show live captions</div></div>
      <div class="panel" data-panel="chat" hidden><div data-tid="chat-pane-list" data-slot="lines"></div>
        <div contenteditable="true" role="textbox" data-tid="ckeditor" data-field="chat" aria-label="Type a message" data-placeholder="Type a message"></div><button data-tid="newMessageCommands-send" name="send" aria-label="Send" data-do="send">send</button></div>
      <div class="panel" data-panel="people" hidden data-slot="people"></div>
      <div class="toolbar" role="toolbar" aria-label="Meeting controls"><button id="chat-button" data-tid="chat-button" aria-label="Chat" data-do="panel:chat">Chat</button><span data-slot="count"></span>
      <button id="raisehands-button" aria-label="Raise">Raise</button><button id="reaction-menu-button" aria-label="React">React</button><button id="view-mode-button">View</button>${device("microphone", state)}${device("camera", state)}
      <button id="callingButtons-showMoreBtn" aria-label="More" data-do="panel:more">More</button>${button}</div></div>`),
    denied: [calling("Sorry, but you were denied access to the meeting"), calling("Your request to join was declined", "", `<button data-tid="calling-retry-cancelbutton">Cancel</button>`)],
    removed: [calling("You've been removed from this meeting", "", `<button data-tid="calling-retry-rejoinbutton">Rejoin</button>`)],
    ended: [calling("Meeting ended"), calling("Call ended")],
    no_answer: [calling("Sorry, no one responded to your request to join")],
    sign_in: [calling("We need to verify your info before you can join"), calling("To join, sign in or use Teams on the web"), calling("You need to be signed in to join this meeting")],
    org_only: [calling("External participants are not permitted to join before the event begins"), calling("Your organization's policy doesn't let you join this meeting", "Org policy")],
    not_found: [calling("Looks like the meeting URL is incorrect")],
    refused: [calling("Sorry, we couldn't connect you", "Please try again", `<button>Rejoin</button>`)],
    captcha: [`<div><h1>Verify you're a real person</h1><p>Enter the characters you see</p><input aria-label="Characters"><button>Verify</button></div>`],
    passcode: [`<div><h1>Enter the meeting passcode</h1><input data-field="passcode" type="text" placeholder="Meeting passcode" data-tid="meeting-passcode-input"><button data-do="passcode">Join a meeting</button></div>`],
    passcode_wrong: [`<div><h1>Enter the meeting passcode</h1><p>The passcode is incorrect</p><input data-field="passcode" type="text" placeholder="Meeting passcode" data-tid="meeting-passcode-input" aria-invalid="true"><button data-do="passcode">Join a meeting</button></div>`],
    full: [calling("This meeting is full"), calling("The meeting has reached its capacity")],
    locked: [calling("This meeting is locked", "The organizer locked the meeting")],
    left: [calling(PERSONAL ? "You left the meeting" : "You've left the meeting", "", `<button>Rejoin</button><button>Dismiss</button>`)],
  },
  popups: {
    no_audio: `<div role="dialog" aria-modal="true"><h2>Are you sure you want to join without audio?</h2><p>You can turn on audio later</p><button data-do="close">Continue without audio or video</button></div>`,
    allow_devices: `<div role="dialog" data-aside><p>Select Allow to let Microsoft Teams use your mic and camera for this meeting</p><button data-do="close">Continue without audio or video</button></div>`,
    got_it: `<div role="dialog" data-aside><p>Recording has started. Let everyone know</p><button aria-label="Dismiss" data-do="close">Dismiss</button></div>`,
    cookies: `<div data-aside role="dialog"><p>We use optional cookies</p><button data-do="close">Accept</button><button data-do="close">Reject</button></div>`,
    captcha_dialog: `<div role="dialog"><h2>Verify you're a real person</h2><button>Verify</button></div>`,
  },
};

// Where "continue on this browser" leads: the client, with the meeting in the fragment.
function launched() {
  const address = found(location.href);
  const inner = address.match(/(\/l\/meetup-join\/.*|\/meet\/\d+[^#]*)/)?.[1] ?? "/";
  return `/v2/?meetingjoin=true#${inner}`.replaceAll(":", "|").replaceAll('"', "%22");
}

await play(teams);
