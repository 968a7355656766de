// Runs in a tab of the agent's own, beside the meeting's. Records what the meeting's tab sounds like, and keeps it in
// numbered chunks of a second until the agent has said that it has them: for up to ten minutes, also while no agent is
// there. No page can reach it, and it goes on whatever the meeting's page does or navigates to.
//
// Sound goes through an AudioContext: at 48 kHz, a tab's track has 44.1; with a source of silence that keeps the recorder
// going while nothing is heard; and where it can be asked how loud it is. Large buffers, for nobody listens.
(() => {
  const LEVEL_MS = 250;
  if (globalThis.poolmgrRecorder) return;

  let kbps = 96;
  let everyMs = 1000; // how long a chunk is
  let most = 600; // chunks that are kept; with half as many it begins again
  let track = null;
  let mixed = null;
  let analyser = null;
  let recorder = null;
  let part = -1;
  let seq = 0;
  let chunks = []; // not confirmed yet
  let stopped = "never began"; // why nothing is recorded; empty: it is
  let loudest = 0; // root mean square, since the last pull
  let last = Promise.resolve();

  function toText(buffer) {
    const bytes = new Uint8Array(buffer);
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(text);
  }

  function keep(of, data, timecode) {
    if (!data.size) return;
    const at = Date.now();
    last = last.then(async () => {
      chunks.push({ ...of, seq: seq++, at, media_ms: timecode, size: data.size, data: toText(await data.arrayBuffer()) });
      if (chunks.length >= most) halt("full");
    });
  }

  // Begins a part. `cause`: of the gap before it.
  function begin(cause) {
    part += 1;
    const of = { part, part_at: Date.now(), cause };
    let first = null;
    recorder = new MediaRecorder(mixed, { mimeType: "audio/webm;codecs=opus", audioBitsPerSecond: kbps * 1000 });
    recorder.ondataavailable = ({ data, timecode }) => {
      first ??= timecode;
      keep(of, data, timecode - first);
    };
    recorder.onerror = () => halt("recorder");
    stopped = "";
    recorder.start(everyMs);
  }

  function halt(why) {
    if (stopped) return;
    stopped = why;
    if (recorder.state !== "inactive") recorder.stop();
  }

  function listen() {
    const heard = new Float32Array(analyser.fftSize);
    setInterval(() => {
      analyser.getFloatTimeDomainData(heard);
      let energy = 0;
      for (const sample of heard) energy += sample * sample;
      loudest = Math.max(loudest, Math.sqrt(energy / heard.length));
    }, LEVEL_MS);
  }

  // Of the tab that the browser selects: what its title says. Numbers go on where an earlier recorder of this bot ended.
  async function start(settings) {
    kbps = settings.kbps;
    everyMs = settings.every_ms;
    most = settings.keeps;
    part = settings.part - 1;
    seq = settings.seq;
    const stream = await navigator.mediaDevices.getDisplayMedia({
      video: true, // there is no sound without
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, suppressLocalAudioPlayback: false },
    });
    for (const picture of stream.getVideoTracks()) picture.stop();
    [track] = stream.getAudioTracks();
    if (!track) throw new Error("the tab gives no sound");
    const context = new AudioContext({ sampleRate: 48000, latencyHint: "playback" });
    const output = context.createMediaStreamDestination();
    const source = context.createMediaStreamSource(new MediaStream([track]));
    analyser = context.createAnalyser();
    analyser.fftSize = 16384; // more than LEVEL_MS: nothing goes unheard
    const silence = context.createConstantSource();
    silence.offset.value = 0;
    source.connect(output);
    source.connect(analyser);
    silence.connect(output);
    silence.start();
    mixed = output.stream;
    globalThis.poolmgrKept = [stream, context, source, silence, output];
    track.onended = () => halt("tab");
    listen();
    begin(settings.cause);
  }

  // The oldest chunks, as many as are wanted. Those before `confirmed` are dropped: whoever asks has them on its disk. `cause`: why
  // nobody fetched anything, if it was for so long that it stopped.
  async function pull(confirmed, wanted, cause) {
    await last;
    chunks = chunks.filter((chunk) => chunk.seq >= confirmed);
    if (stopped === "full" && chunks.length <= most / 2 && track.readyState === "live") begin(cause);
    const level = loudest;
    loudest = 0;
    return { chunks: chunks.slice(0, wanted), waiting: chunks.length, stopped, level };
  }

  async function stop() {
    if (recorder && recorder.state !== "inactive") {
      const inactive = new Promise((resolve) => (recorder.onstop = resolve));
      halt("asked");
      await inactive;
    }
    stopped ||= "asked";
    await last;
  }

  Object.defineProperty(globalThis, "poolmgrRecorder", { value: Object.freeze({ start, pull, stop }) });
})();
