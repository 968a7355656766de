// Plays the people with a voice: each is a participant of its own, who sends a tone or silence.
import { Call } from "/-/page/call.js";

const TONE_HZ = 440;
const LOUDNESS = 0.3;
// Nobody hears this page itself. While nobody has a voice, it computes none.
const audio = new AudioContext({ sinkId: { type: "none" }, latencyHint: "playback" });
const people = new Map(); // PLATFORM/CODE/NAME -> function that makes this voice loud or silent

audio.suspend();
const orders = new WebSocket(`wss://${location.host}/-/voices/orders`);
orders.onmessage = ({ data }) => {
  const { platform, code, name, loud } = JSON.parse(data);
  const key = `${platform}/${code}/${name}`;
  const volume = people.get(key) ?? join(key, `${platform}/${encodeURIComponent(code)}?voice`, name);
  volume.gain.value = loud ? LOUDNESS : 0;
};

function join(key, path, name) {
  const oscillator = new OscillatorNode(audio, { frequency: TONE_HZ + 60 * people.size });
  const volume = new GainNode(audio, { gain: 0 });
  const out = new MediaStreamAudioDestinationNode(audio);
  oscillator.connect(volume).connect(out);
  oscillator.start();
  people.set(key, volume);
  audio.resume();
  const item = document.createElement("li");
  item.textContent = `${name} in ${path}`;
  document.querySelector("ul").append(item);
  const call = new Call(path, ({ type }) => {
    if (type !== "end" && type !== "lost") return;
    call.leave();
    oscillator.stop();
    people.delete(key);
    if (!people.size) audio.suspend();
    item.remove();
  }, { plays: null });
  call.join(name, out.stream);
  return volume;
}
