// The Zoom web client, as facts 2.1 to 2.6 describe it.
import { escape, play } from "/-/page/stage.js";

const device = (kind, { [kind]: on }) => kind === "microphone"
  ? `<button data-do="microphone" id="preview-audio-control-button" class="preview-video__control-button" aria-label="${on ? "Mute" : "Unmute"}">mic</button>`
  : `<button data-do="camera" id="preview-video-control-button" class="preview-video__control-button" aria-label="${on ? "Stop Video" : "Start Video"}">cam</button>`;
const modal = (title, more = "", buttons = `<button class="zm-btn zm-btn--primary">OK</button>`) => `<div class="zm-modal" role="dialog" aria-modal="true">
  <div class="zm-modal-body-title">${title}</div><div class="zm-modal-body-content">${more}</div>${buttons}</div>`;
const plain = (text) => `<div class="meeting-info-container"><h1>${text}</h1></div>`;
const empty = `<div class="meeting-app"><div id="video-share-layout"><video-player></video-player></div></div>`;
const passcodeForm = (text, invalid) => (state) => `<div class="preview-root"><p class="${invalid ? "error" : ""}">${text}</p>
  <input type="text" id="input-for-name" value="${escape(state.name)}" placeholder="Your Name">
  <input data-field="passcode" id="input-for-pwd" type="password" placeholder="Meeting Passcode" aria-invalid="${invalid}" ${invalid ? `value="${invalid}"` : ""}>
  <button class="zm-btn preview-join-button" data-do="passcode">Join</button></div>`;
const WAITING = [
  "Please wait, the meeting host will let you in soon.",
  "The meeting host will let you in soon",
  "Host has joined. We've let them know you're here",
  "You are in the waiting room. You will be admitted shortly",
];

const zoom = {
  name: "zoom",
  device,
  code: ({ pathname }) => pathname.match(/\/(\d{8,11})(?:\/|$)/)?.[1],
  passcodeOf: ({ search }) => new URLSearchParams(search).get("pwd") ?? "",
  title: (screen) => (screen === "invalid" ? "Error - Zoom" : "Zoom Meeting"),
  begin(stage) {
    if (location.pathname.startsWith("/webinar/register/")) stage.scenario.turns = [{ at: "load", to: "registration", after_ms: 0 }];
    else if (/^\/[jsw]\//.test(location.pathname)) stage.scenario.turns = [{ at: "load", to: "launch", after_ms: 0 }];
  },
  slots: {
    count: ({ people, flickering }) => `<button class="footer-button__button" data-do="panel:people" aria-label="open the participants list, ${flickering ? 0 : people.length} participants">
      <span class="footer-button__number-counter">${flickering ? 0 : people.length} participants</span></button>`,
    people: ({ people, me, open, flickering }) => flickering || !open.has("people") ? "" : `<div class="ReactVirtualized__Grid__innerScrollContainer" role="rowgroup">${people.map(({ id, name }) => `
      <div class="participants-item__item-layout participants-li" role="row" id="participants-${id}"><span class="participants-item__avatar"></span>
      <span class="participants-item__display-name">${escape(name)}</span>${id === me ? `<span class="participants-item__name-label">(Me)</span>` : ""}</div>`).join("")}</div>`,
    videos: ({ people, speaking, flickering }) => {
      const speaker = people.find(({ id }) => speaking.has(id)) ?? people.at(-1);
      if (flickering || !speaker) return "";
      return `<div class="speaker-active-container__video-frame"><div class="video-avatar__avatar"><div class="video-avatar__avatar-footer"><span>${escape(speaker.name)}</span></div></div></div>
        ${people.map(({ id, name }) => `<div class="tile speaker-bar-container__video-frame ${speaking.has(id) ? "speaker-bar-container__video-frame--active" : ""}"><div class="video-avatar__avatar-footer"><span>${escape(name)}</span></div></div>`).join("")}`;
    },
    captions: ({ captions, captioned }) => !captioned || !captions.size ? "" : `<div id="live-transcription-subtitle" class="live-transcription-subtitle__box">${[...captions.values()].slice(-1).map(({ text }) => `
      <span class="live-transcription-subtitle__item"><i class="zmu-data-selector-item__icon"></i>${escape(text)}</span>`).join("")}</div>`,
    lines: ({ lines, me, open }) => open.has("chat") ? lines.map(({ id, from, name, text }) => `<div class="new-chat-message__container" id="chat-message-${id}">
      <span class="chat-item__sender" data-name="${escape(name)}">${from === me ? "Me" : escape(name)}</span> to Everyone<div class="chat-rtf-box__display new-chat-message__text-content">${escape(text)}</div></div>`).join("") : "",
  },
  screens: {
    prejoin: ["Join", "Join"].map((label) => (state) => `<div class="preview-root"><div class="preview-meeting-info">A meeting</div>
      <div class="preview-video">${device("microphone", state)}${device("camera", state)}</div>
      <label for="input-for-name">Your Name</label>
      <input data-field="name" id="input-for-name" type="text" class="preview-meeting-info-field-input" placeholder="Your Name" autocomplete="off">
      <button class="zm-btn preview-join-button disabled" data-do="join" type="button">${label}</button></div>`),
    launch: [`<div class="mbTuDeF1"><h3>Click Launch Meeting below</h3><button>Launch Meeting</button><p>Don't have Zoom Workplace app installed?
      <a role="button" data-do="go:${location.pathname.replace(/^\/[jsw]\/(\d+)/, "/wc/$1/join")}${location.search}">Join from your browser</a></p></div>`],
    joining: ["Joining Meeting...", "Connecting…", "Loading…", "Preparing the meeting"].map((text) => `${empty}<div class="loading-layer" role="status">${text}</div>`),
    lobby: WAITING.map((text) => ({ host }) => `<div class="meeting-app"><div class="waiting-room-container">
      <span class="wr-information">${host ? text : ["Waiting for the host to start this meeting", "Waiting for the host to start the meeting"][WAITING.indexOf(text) % 2]}</span>
      <button data-do="leave" class="leave-btn" aria-label="Leave">Leave</button></div></div>`),
    meeting: [(state) => `<div class="meeting-app"><div id="video-share-layout"><video-player></video-player></div><div class="single-main-container__video-frame"></div><div data-slot="videos"></div><div data-slot="captions"></div>
      <div class="panel" data-panel="more" role="menu" hidden><a role="menuitem" aria-label="Captions" data-do="${state.wording % 2 ? "popup:caption_language" : "captions:more"}">Captions</a></div>
      <div class="panel chat-container" data-panel="chat" aria-label="Chat" hidden><div class="chat-container__chat-list" id="chat-list-content" aria-label="Chat Message List"><div class="chat-virtuoso-wrapper" data-slot="lines"></div></div>
        <div class="chat-rtf-box__editor-outer"><div class="tiptap ProseMirror" contenteditable="true" role="textbox" data-field="chat" aria-label="Type message here ..."></div></div>
        <button class="chat-rtf-box__send" data-do="send" aria-label="send">send</button></div>
      <div class="panel" data-panel="people" hidden data-slot="people"></div>
      <footer id="wc-footer" class="footer toolbar"><div footer-section="left"><button data-do="microphone" aria-label="${state.microphone ? "mute" : "unmute"} my microphone">mic</button><button data-do="camera" aria-label="${state.camera ? "stop" : "start"} my video">cam</button></div>
        <div footer-section="center"><span data-slot="count"></span><button aria-label="open the chat panel" data-do="panel:chat">Chat</button><button aria-label="More meeting control" data-do="panel:more">More</button></div>
        <div footer-section="right"><button aria-label="Leave" class="footer__leave-btn" data-do="popup:leave">Leave</button></div></footer></div>`],
    invalid: [plain("This meeting link is invalid (3,001)")],
    waiting_for_host: [plain("Waiting for the host to start this meeting"), plain("Waiting for the host to start the meeting")],
    denied: [modal("You have been removed", "The host removed you from the waiting room")],
    removed: [modal("You have been removed", "You have been removed from this meeting by the host")],
    ended: [modal("This meeting has been ended by host"), `<div class="zm-modal" role="dialog"><p>The meeting has ended</p><button>OK</button></div>`,
      `<div aria-label="Meeting is end now" role="dialog"><button>OK</button></div>`, modal("The host ended the meeting")],
    sign_in: [plain("Sign in to join this meeting"), plain("Please sign in to join"), plain("Only authenticated users can join this meeting"), plain("This meeting requires authentication"), plain("The host requires authentication on the commercial Zoom platform to join")],
    blocked: [(state) => `<div class="preview-root"><p>Automated bots aren't allowed to join this meeting</p><input id="input-for-name" value="${escape(state.name)}"><button class="preview-join-button disabled" disabled>Join</button></div>`,
      plain("To join this meeting, bots must use Zoom RTMS"), plain("We detected you may be a bot")],
    refused: [plain("Your network connection has timed out or your organization has disabled access to Zoom from the browser"),
      modal("Joining Meeting Timeout or Browser restriction", "Please verify your network connection", "<button>Retry</button>")],
    passcode: [passcodeForm("Enter the meeting passcode", "")],
    passcode_wrong: [passcodeForm("Passcode wrong. Please try again", "x"), passcodeForm("The passcode is incorrect", "x"), passcodeForm("Invalid passcode", "x")],
    captcha: [`<div class="captcha"><h1>Check Captcha</h1><img alt="captcha" width="200" height="60"><input aria-label="Enter the characters"></div>`],
    recording_denied: [(state) => `${zoom.screens.meeting[0](state)}${modal("The host denied your request to record this meeting", "", "")}`],
    registration: [`<div class="webinar-register"><h1>Meeting Registration</h1><form><input name="email" type="email"><button type="button">Register</button></form></div>`],
    full: [modal("This meeting has reached its maximum number of participants"), modal("The meeting is at capacity", "Please try again later")],
    locked: [modal("This meeting has been locked by the host"), modal("The meeting has been locked by the host")],
    not_found: [plain("This meeting link is invalid (3,000)"), plain("The meeting ID is not valid")],
    left: [`<div class="leave-page">You have left the meeting<button>Rejoin</button></div>`],
  },
  popups: {
    caption_language: `<div class="zm-modal" role="dialog" data-aside><p>Speaking language: English</p><button data-do="close:captions">Save</button></div>`,
    cookies: `<div data-aside id="onetrust-banner-sdk" role="dialog"><p>We use cookies</p><button id="onetrust-reject-all-handler" data-do="close">Reject All</button><button id="onetrust-accept-btn-handler" data-do="close">Accept Cookies</button></div>`,
    terms: `<div><h2>Terms of Service</h2><button id="wc_agree1" data-do="close">I Agree</button></div>`,
    disclaimer: `<div><p>Before you join</p><button id="disclaimer_agree" data-do="close">Agree</button></div>`,
    permission: `<div class="pepc-permission-dialog" role="dialog"><p>Do you want people to see and hear you in the meeting?</p><button data-do="close">Allow</button><button data-do="close">Continue without microphone and camera</button></div>`,
    no_devices: `<div role="dialog"><p>Use your microphone and camera</p><button data-do="close">Continue without microphone and camera</button></div>`,
    no_camera: `<div role="dialog" class="zm-modal"><p>Cannot detect your camera or microphone</p><button aria-label="Close" data-do="close">Close</button></div>`,
    recording: `<div class="zm-modal" role="dialog"><div class="zm-modal-body-title">This meeting is being recorded</div><p>By continuing, you consent to being recorded</p><button data-do="leave">Leave Meeting</button><button class="zm-btn--primary" data-do="close">Got it</button></div>`,
    companion: `<div class="zm-modal" role="dialog"><p>AI Companion is active in this meeting</p><button class="zm-btn zm-btn--primary" data-do="close">OK</button></div>`,
    tip: `<div data-aside role="tooltip"><p>Try the new layout</p><button data-do="close">Got it</button></div>`,
    join_audio: `<div role="dialog"><button data-do="close">Join Audio by Computer</button></div>`,
    leave: `<div data-aside class="leave-meeting-options" role="menu"><button class="zm-btn leave-meeting-options__btn leave-meeting-options__btn--danger" data-do="leave">Leave Meeting</button><button data-do="close">Cancel</button></div>`,
  },
};
await play(zoom);
