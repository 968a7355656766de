// Jitsi Meet, as facts 4.1 to 4.4 describe it: what a bot asks is the application's own state, and the page beside it.
import { escape, play } from "/-/page/stage.js";

const config = Object.fromEntries([...new URLSearchParams(location.hash.slice(1))].map(([key, value]) => {
  try { return [key, JSON.parse(value)]; } catch { return [key, value]; }
}));
const device = (kind, { [kind]: on }) => `<div role="button" tabindex="0" data-do="${kind}" aria-label="${kind === "microphone" ? (on ? "Mute microphone" : "Unmute microphone") : (on ? "Stop camera" : "Start camera")}" aria-pressed="${!on}">${kind}</div>`;
const dialog = (title, more = "") => `<div role="dialog" class="css-modal" data-testid="dialog"><h3>${title}</h3><p>${more}</p></div>`;

const jitsi = {
  name: "jitsi",
  device,
  code: ({ pathname }) => decodeURIComponent(pathname.split("/").filter(Boolean).at(-1) ?? ""),
  nameOf: () => config["userInfo.displayName"] ?? "",
  title: (screen, { code }) => `${code} | Jitsi Meet`,
  skipsPrejoin: ({ scenario }) => !scenario.prejoin && config["config.prejoinConfig.enabled"] === false && Boolean(config["userInfo.displayName"]),
  begin(stage) {
    stage.state.microphone = config["config.startWithAudioMuted"] !== true;
    stage.state.camera = config["config.startWithVideoMuted"] !== true;
    stage.state.name = config["userInfo.displayName"] ?? "";
    globalThis.APP = application(stage);
  },
  slots: {
    videos: ({ people, me, speaking, flickering }) => flickering ? "" : people.map(({ id, name }) => `<span class="tile videocontainer ${speaking.has(id) ? "dominant-speaker" : ""}" id="${id === me ? "localVideoContainer" : `participant_${id}`}"><span class="displayname" id="${id === me ? "localDisplayName" : `participant_${id}_name`}">${escape(name)}</span></span>`).join(""),
    people: ({ people, open }) => open.has("people") ? people.map(({ id, name }) => `<div class="list-item-container" id="participant-item-${id}"><span data-testid="participant-name">${escape(name)}</span></div>`).join("") : "",
    captions: ({ captions, captioned }) => !captioned || !captions.size ? "" : `<div class="transcription-subtitles">${[...captions.values()].map(({ name, text }) => `<p><span>${escape(name)}: ${escape(text)}</span></p>`).join("")}</div>`,
    lines: ({ lines, me, open }) => open.has("chat") ? lines.map(({ id, from, name, text }) => `<div class="chatmessage ${from === me ? "localuser" : "remote"}" id="${id}" tabindex="-1"><div class="display-name">${escape(name)}</div><div class="usermessage">${escape(text)}</div></div>`).join("") : "",
  },
  screens: {
    prejoin: [0, 1].map((wording) => (state) => `<div class="premeeting-screen"><h1>Join meeting</h1><div class="prejoin-input-area">
      <input data-field="name" id="premeeting-name-input" type="text" placeholder="Enter your name" value="${escape(state.name)}"></div>
      ${device("microphone", state)}${device("camera", state)}
      <div role="button" tabindex="0" class="prejoin-preview-join-btn" data-testid="prejoin.joinMeeting" aria-label="Join meeting" data-do="join">${wording ? "Join now" : "Join meeting"}</div></div>`),
    guest: [`<div><h1>Log in</h1><button>Log in with SSO</button><button data-do="show:prejoin">Continue as guest</button></div>`, `<div><button>Log in</button><button data-do="show:prejoin">Join as guest</button></div>`, `<div><button>Log in</button><a role="button" href="#" data-do="show:prejoin">Continue without an account</a></div>`],
    lobby: ["Asking to join meeting...", "Asking to join", "Asking to join"].map((text) => ({ host }) => host
      ? `<div class="lobby-screen"><h1>${text}</h1><span data-testid="lobby.joiningMessage">${text}</span><button data-do="cancel">Cancel</button></div>`
      : `<div role="dialog"><h3>Waiting for ${text.endsWith("...") ? "a moderator" : "the host"}...</h3><p>The conference has not yet started</p><button>I am the host</button><button data-do="cancel">Cancel</button></div>`),
    meeting: [(state) => `<div id="videoconference_page"><div id="filmstrip" data-slot="videos"></div><div data-slot="captions"></div>
      <div class="panel" data-panel="more" role="menu" hidden><div role="menuitem" tabindex="0" aria-label="Toggle subtitles" data-do="captions:more">Start showing subtitles</div></div>
      <div class="panel" data-panel="chat" id="sideToolbarContainer" hidden><div id="chatconversation" data-slot="lines"></div><textarea id="chat-input" data-field="chat" placeholder="Type a message"></textarea><button aria-label="Send message" data-do="send">send</button></div>
      <div class="panel" data-panel="people" hidden data-slot="people"></div>
      <div class="toolbar" id="new-toolbox"><div role="button" aria-label="Open chat" data-do="panel:chat">chat</div><div role="button" aria-label="More actions" data-do="panel:more">more</div>${device("microphone", state)}${device("camera", state)}<div role="button" aria-label="Open participants pane" data-do="panel:people">people</div>
      <div role="button" tabindex="0" class="hangup-button" data-testid="toolbox.hangup" aria-label="Leave the meeting" data-do="leave">leave</div></div></div>`],
    reconnecting: [`<div id="videoconference_page"><div class="overlay"><h1>You have been disconnected</h1><p>Reconnecting</p></div><div class="toolbar"><div role="button" aria-label="Leave the meeting" data-do="leave">leave</div></div></div>`],
    passcode: [dialogWithPassword("This meeting is protected", "")],
    passcode_wrong: [dialogWithPassword("Incorrect password", "Incorrect password")],
    denied: [dialog("Your request to join has been declined"), dialog("Your request to join has been rejected"), dialog("Rejected", "Your request to join was declined by a moderator")],
    removed: [dialog("You have been kicked", "Ouch! You have been kicked out of the meeting"), dialog("Ann kicked out of the meeting"),
      `<section role="alertdialog"><h1>Ouch! Ann kicked you out of the meeting</h1><p>You can contact Ann for more details</p><button>Rejoin now</button></section>`],
    ended: [dialog("The meeting has been terminated"), dialog("The conference has ended")],
    refused: [`<div class="overlay__container"><span>Unfortunately, something went wrong.</span><span>We're trying to fix this. Reconnecting in 25 sec...</span><button>Rejoin now</button></div>`,
      dialog("Failed", "Oops! Something went wrong and we couldn't connect to the conference")],
    full: [dialog("The meeting is full", "The maximum number of participants has been reached")],
    sign_in: [dialog("Authentication required", "Sign in to join")],
    left: [`<div class="thankYou"><h1>Thank you for using Jitsi Meet</h1><button>Rejoin</button></div>`],
  },
  popups: {
    cookies: `<div data-aside><p>This site uses cookies</p><button data-do="close">Dismiss</button></div>`,
    no_devices: `<div data-aside role="alert" data-testid="notification"><p>Microphone not available</p><button aria-label="Dismiss" data-do="close">Dismiss</button></div>`,
    deep_link: `<div><h1>Join your meeting</h1><button>Launch in app</button><button data-do="close">Launch in web</button></div>`,
  },
  whenLeft: (stage) => stage.show("left"),
};

function dialogWithPassword(title, error) {
  return `<div role="dialog" aria-label="${title}"><h3>${title}</h3><label>Password<input data-field="passcode" type="password" name="lockKey" placeholder="Enter meeting password"></label><p>${error}</p>
    <button data-do="passcode">Join</button><button data-do="cancel">Cancel</button></div>`;
}

// window.APP, with what others have used of it.
function application(stage) {
  const { state, scenario } = stage;
  const isHidden = ({ name }) => scenario.hidden.includes(name);
  const isJoined = () => stage.shown === "meeting" || stage.shown === "reconnecting";
  const participant = (one) => ({ getId: () => one.id, getDisplayName: () => one.name, isHidden: () => isHidden(one), isHiddenFromRecorder: () => isHidden(one), getRole: () => "none" });
  const others = () => (state.flickering ? [] : state.people.filter(({ id }) => id !== state.me));
  const messages = () => state.lines.map(({ id, from, name, text }) => ({
    messageId: id, id, participantId: from, senderId: from, displayName: name, message: text, messageType: from === state.me ? "local" : "remote", timestamp: 0,
  }));
  const room = {
    isJoined, myUserId: () => state.me, getParticipants: () => others().map(participant), getParticipantCount: (withHidden) => others().filter((one) => withHidden || !isHidden(one)).length + 1,
    sendTextMessage: (text) => stage.call.say(text), getParticipantById: (id) => others().filter((one) => one.id === id).map(participant)[0],
    isMembersOnly: () => stage.shown === "lobby", getConnectionState: () => "connected",
  };
  return {
    conference: {
      isJoined, get _room() { return isJoined() || stage.shown === "lobby" ? room : undefined; }, hangup: async () => stage.leave(), getMyUserId: () => state.me,
      membersCount: 0, getParticipantCount: () => state.people.length, isLocalAudioMuted: () => !state.microphone, isLocalVideoMuted: () => !state.camera,
      getStats: () => ({ bitrate: { download: isJoined() ? 32 : 0 } }), getConnectionState: () => (isJoined() ? "connected" : "new"),
    },
    store: {
      getState: () => ({
        "features/base/conference": {
          conference: isJoined() ? room : undefined, membersOnly: stage.shown === "lobby" ? room : undefined, room: state.code,
          passwordRequired: stage.shown === "passcode" || stage.shown === "passcode_wrong" ? room : undefined,
        },
        "features/lobby": { knocking: stage.shown === "lobby" && state.host, lobbyEnabled: state.entry === "lobby", knockingParticipants: [] },
        "features/base/participants": {
          local: { id: state.me || "local", name: state.name, local: true }, dominantSpeaker: others().find(({ id }) => state.speaking.has(id))?.id,
          remote: new Map(others().map((one) => [one.id, { id: one.id, name: one.name, isHidden: isHidden(one) }])),
        },
        "features/chat": { messages: messages(), isOpen: state.open.has("chat") },
        "features/prejoin": { showPrejoin: stage.shown === "prejoin" },
      }),
    },
  };
}

await play(jitsi);
