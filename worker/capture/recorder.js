// Runs in a tab of the agent's own, beside the meeting's. Records what the meeting's tab sounds like, and looks like where
// that is wished for, and keeps it in numbered chunks until the agent has said that it has them: for up to ten
// minutes, also while no agent is there. No page can reach it, and it goes on whatever the meeting's page does or
// navigates to.
//
// Sound goes through an AudioContext: at 48 kHz, a tab's track has 44.1; with a source of silence that keeps the recorder
// going while nothing is heard; and where it can be asked how loud it is. Large buffers and no device, for nobody listens:
// with one, sound comes 64 ms later. It is WebM.
// Pictures are encoded one by one, each with the time at which it was taken: a machine that is busy leaves some out, and
// those that it has stay in step. They are an IVF file: a head, and before each picture its size and its time in ms.
(() => {
  const LEVEL_MS = 250;
  const PICTURES_MS = 1000; // how long a chunk of pictures is; one that stands still is in each
  const KEY_MS = 5000; // from one picture to the next that needs none before it
  const MOST_WAITING = 3; // pictures that the encoder has not taken yet; of a busy machine some are left out
  if (globalThis.poolmgrRecorder) return;

  let wish = null;
  let soundMs = 1000; // how long a chunk of sound is
  let seq = 0;
  let chunks = []; // not confirmed yet
  let loudest = 0; // root mean square, since the last pull
  let last = Promise.resolve();
  let shared = null; // what the browser gives of the tab
  const recorders = {}; // by kind

  function keep(of, at, mediaMs, data) {
    if (!data.size) return;
    last = last.then(async () => {
      chunks.push({ ...of, seq: seq++, at, media_ms: mediaMs, size: data.size, data: await data.arrayBuffer() });
      if (chunks.filter(({ kind }) => kind === of.kind).length >= recorders[of.kind].most) halt(of.kind, "full");
    });
  }

  function toText(buffer) {
    const bytes = new Uint8Array(buffer);
    if (bytes.toBase64) return bytes.toBase64();
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(text);
  }

  // Of a kind: `begin` takes what each of its chunks says of the part, `end` resolves when all that came is kept.
  function soundRecorder(track) {
    const context = new AudioContext({ sampleRate: 48000, latencyHint: "playback", sinkId: { type: "none" } });
    const output = context.createMediaStreamDestination();
    const source = context.createMediaStreamSource(new MediaStream([track]));
    const analyser = context.createAnalyser();
    analyser.fftSize = 16384; // more than LEVEL_MS: nothing goes unheard
    const silence = context.createConstantSource();
    silence.offset.value = 0;
    source.connect(output);
    source.connect(analyser);
    silence.connect(output);
    silence.start();
    listen(analyser);
    globalThis.poolmgrKept = { context, source, silence, output };

    let recorder = null;
    return {
      begin(of) {
        let first = null;
        recorder = new MediaRecorder(output.stream, {
          mimeType: "audio/webm;codecs=opus",
          audioBitsPerSecond: wish.audio_kbps * 1000,
        });
        recorder.ondataavailable = ({ data, timecode }) => {
          first ??= timecode;
          keep(of, Date.now(), timecode - first, data);
        };
        recorder.onerror = () => halt("audio", "recorder");
        recorder.start(soundMs);
      },
      async end() {
        if (recorder.state === "inactive") return;
        const inactive = new Promise((resolve) => (recorder.onstop = resolve));
        recorder.stop();
        await inactive;
      },
    };
  }

  function listen(analyser) {
    const heard = new Float32Array(analyser.fftSize);
    setInterval(() => {
      analyser.getFloatTimeDomainData(heard);
      let energy = 0;
      for (const sample of heard) energy += sample * sample;
      loudest = Math.max(loudest, Math.sqrt(energy / heard.length));
    }, LEVEL_MS);
  }

  function pictureRecorder(track, codec) {
    const { width, height } = wish;
    let of = null; // what is said of this part; null: nothing is recorded
    let pieces = []; // of the chunk that is not complete yet
    let beganMs = null; // by the clock of pictures
    let mediaMs = 0; // of the first one in `pieces`
    let keyMs = -Infinity;
    let clockMs = Infinity; // how much less the clock of pictures shows than performance.now(): told by who came soonest
    let still = null; // the latest one
    let stillMs = -Infinity;

    const encoder = new VideoEncoder({
      output: (piece) => {
        if (!of) return;
        const [head, data] = [new DataView(new ArrayBuffer(12)), new Uint8Array(piece.byteLength)];
        piece.copyTo(data);
        const atMs = Math.max(0, Math.round(piece.timestamp / 1000 - beganMs));
        if (!pieces.length) mediaMs = atMs;
        if (!of.hasHead) pieces.push(headOf(codec.fourcc, width, height));
        of.hasHead = true;
        head.setUint32(0, data.length, true);
        head.setBigUint64(4, BigInt(atMs), true);
        pieces.push(head, data);
      },
      error: () => halt("video", "recorder"),
    });
    encoder.configure(codec.config);

    function encode(picture) {
      const ms = picture.timestamp / 1000;
      if (of && encoder.encodeQueueSize < MOST_WAITING) {
        beganMs ??= ms;
        const keyFrame = ms - keyMs >= KEY_MS;
        if (keyFrame) keyMs = ms;
        encoder.encode(picture, { keyFrame });
      }
      stillMs = ms;
    }

    async function watch() {
      const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 2 }).readable.getReader();
      for (;;) {
        const { value: picture, done } = await reader.read();
        if (done) return;
        clockMs = Math.min(clockMs, performance.now() - picture.timestamp / 1000);
        encode(picture);
        still?.close();
        still = picture;
      }
    }

    function cut() {
      const nowMs = performance.now() - clockMs;
      if (still && nowMs - stillMs >= PICTURES_MS) {
        const again = new VideoFrame(still, { timestamp: nowMs * 1000 });
        encode(again);
        again.close();
      }
      if (of && pieces.length) {
        const { hasHead, ...said } = of;
        const partAt = Date.now() - performance.now() + clockMs + beganMs;
        keep({ ...said, part_at: partAt }, Date.now(), mediaMs, new Blob(pieces));
        pieces = [];
      }
    }

    watch().catch(() => halt("video", "recorder"));
    setInterval(cut, PICTURES_MS);
    return {
      begin(said) {
        of = { ...said, hasHead: false };
        beganMs = null;
        keyMs = -Infinity;
      },
      async end() {
        if (encoder.state === "configured") await encoder.flush();
        cut();
        of = null;
      },
    };
  }

  // Of a file of pictures, which have times in ms.
  function headOf(fourcc, width, height) {
    const head = new DataView(new ArrayBuffer(32));
    [..."DKIF"].forEach((letter, at) => head.setUint8(at, letter.charCodeAt(0)));
    head.setUint16(6, 32, true);
    [...fourcc].forEach((letter, at) => head.setUint8(8 + at, letter.charCodeAt(0)));
    head.setUint16(12, width, true);
    head.setUint16(14, height, true);
    head.setUint32(16, 1000, true);
    head.setUint32(20, 1, true);
    return head;
  }

  // The first that this browser has. H.264 takes the least of a processor, and plays everywhere; builds without it have VP9.
  async function codecOf({ width, height, fps, video_kbps: kbps }) {
    const asked = { width, height, framerate: fps, bitrate: kbps * 1000, latencyMode: "realtime" };
    const level = width * height <= 1280 * 720 ? "1f" : width * height <= 1920 * 1088 ? "28" : "33";
    const known = [
      { fourcc: "H264", config: { ...asked, codec: `avc1.42e0${level}`, avc: { format: "annexb" } } },
      { fourcc: "VP90", config: { ...asked, codec: "vp09.00.31.08" } },
    ];
    for (const codec of known) if ((await VideoEncoder.isConfigSupported(codec.config)).supported) return codec;
    throw new Error("this browser has no encoder for pictures of that size");
  }

  // Begins a part of a kind. `cause`: of the gap before it.
  function begin(kind, cause) {
    const its = recorders[kind];
    its.part += 1;
    its.stopped = "";
    its.recorder.begin({ kind, part: its.part, part_at: Date.now(), cause });
  }

  async function halt(kind, why) {
    const its = recorders[kind];
    if (!its || its.stopped) return;
    its.stopped = why;
    await its.recorder.end().catch(() => {});
  }

  const paused = "paused";

  // Nothing is recorded; what came so far can be pulled. Idempotent, as `resume` is.
  async function pause() {
    await Promise.all(Object.keys(recorders).map((kind) => halt(kind, paused)));
    await last;
  }

  function resume() {
    for (const [kind, { stopped }] of Object.entries(recorders)) if (stopped === paused) begin(kind, paused);
  }

  // Of the tab that the browser selects: what its title says. Numbers go on where an earlier recorder of this bot ended.
  async function start(settings) {
    ({ wish, seq, every_ms: soundMs } = settings);
    const { kinds, width, height, fps } = wish;
    shared = await navigator.mediaDevices.getDisplayMedia({
      video: kinds.includes("video") ? { width: { max: width }, height: { max: height }, frameRate: { max: fps } } : true,
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, suppressLocalAudioPlayback: false },
    });
    const tracks = { audio: shared.getAudioTracks()[0], video: shared.getVideoTracks()[0] };
    for (const [kind, track] of Object.entries(tracks)) {
      if (!kinds.includes(kind)) track?.stop(); // there is no sound without a picture, which then goes nowhere
      else if (!track) throw new Error(`the tab gives no ${kind}`);
    }
    for (const kind of kinds) {
      const track = tracks[kind];
      track.onended = () => halt(kind, "tab");
      const recorder = kind === "audio" ? soundRecorder(track) : pictureRecorder(track, await codecOf(wish));
      const most = Math.ceil((settings.keeps_s * 1000) / (kind === "audio" ? soundMs : PICTURES_MS));
      const stopped = settings.paused ? paused : "never began";
      recorders[kind] = { recorder, track, most, part: settings.parts[kind] - 1, stopped };
      if (!settings.paused) begin(kind, settings.cause);
    }
  }

  // The oldest chunks, as many as are wanted. Those before `confirmed` are dropped: whoever asks has them on its disk. `cause`: why
  // nobody fetched anything, if it was for so long that it stopped.
  async function pull(confirmed, wanted, cause) {
    await last;
    chunks = chunks.filter((chunk) => chunk.seq >= confirmed);
    const stopped = {};
    for (const [kind, its] of Object.entries(recorders)) {
      const waiting = chunks.filter((chunk) => chunk.kind === kind).length;
      if (its.stopped === "full" && waiting <= its.most / 2 && its.track.readyState === "live") begin(kind, cause);
      stopped[kind] = its.stopped;
    }
    const level = loudest;
    loudest = 0;
    const given = chunks.slice(0, wanted).map((chunk) => ({ ...chunk, data: toText(chunk.data) }));
    return { chunks: given, waiting: chunks.length, stopped, level };
  }

  async function stop() {
    await Promise.all(Object.keys(recorders).map((kind) => halt(kind, "asked")));
    await last;
  }

  Object.defineProperty(globalThis, "poolmgrRecorder", { value: Object.freeze({ start, pull, pause, resume, stop }) });
})();
