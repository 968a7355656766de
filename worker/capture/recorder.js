// Records the sound, and if wanted the picture, of the meeting's tab. It runs in a tab of its own, which no page can
// reach, so it goes on whatever the meeting's page does or navigates to. It keeps numbered chunks until the agent
// confirms that it has them: for up to ten minutes, also while no agent runs.
//
// Sound is WebM. The tab's track is recorded as it is, so each packet has the time at which it was captured, also on a busy
// machine and after the browser stood still. An AudioContext in between takes sound later and later into its queue, and
// nothing tells: 0.1 s within minutes.
// Pictures are an IVF file: a head, and before each picture its size and its time in ms. Each picture is encoded with the
// time at which it was taken. So a busy machine may leave some out, and the others stay in step.
(() => {
  const PICTURES_MS = 1000; // how long a chunk of pictures is; each has a picture, also if nothing moves
  const KEY_MS = 5000; // from one key frame to the next
  const SILENT_BYTES_PER_S = 1200; // digital silence has 254, and the faintest noise 1,600 at 24 kbit/s
  const MOST_WAITING = 3; // pictures that wait for the encoder; others are left out
  if (globalThis.poolmgrRecorder) return;

  let options = null; // what to record, and how
  let aheadMs = 0; // how far the recording's clock is ahead of performance.now(), which nobody can set
  let soundMs = 1000; // how long a chunk of sound is
  let seq = 0;
  let chunks = []; // not confirmed yet
  let level = 1; // of the latest chunk of sound: 0 for digital silence, else 1
  let last = Promise.resolve(); // the latest chunk is kept
  const recorders = {}; // by kind

  const now = () => aheadMs + performance.now();

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

  // A recorder of a kind: `begin` takes what each chunk says about its part, `end` resolves when all chunks are kept.
  function soundRecorder(track) {
    let recorder = null;
    return {
      begin(of) {
        let first = null;
        recorder = new MediaRecorder(new MediaStream([track]), {
          mimeType: "audio/webm;codecs=opus",
          audioBitsPerSecond: options.audio_kbps * 1000,
        });
        recorder.ondataavailable = ({ data, timecode }) => {
          first ??= timecode;
          if (data.size) level = data.size > (SILENT_BYTES_PER_S * soundMs) / 1000 ? 1 : 0;
          keep(of, now(), timecode - first, data);
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

  function pictureRecorder(track, codec) {
    const { width, height } = options;
    let of = null; // what chunks say about their part; null: nothing is recorded
    let pieces = []; // of the next chunk
    let beganMs = null; // by the clock of pictures
    let mediaMs = 0; // of the first picture in `pieces`
    let keyMs = -Infinity;
    let clockMs = Infinity; // performance.now() minus the clock of pictures, by the picture that came soonest
    let still = null; // the latest picture
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
        keep({ ...said, part_at: aheadMs + clockMs + beganMs }, now(), mediaMs, new Blob(pieces));
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

  // The head of an IVF file whose times are in ms.
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

  // The first codec that this browser has. H.264 takes the least processor time and plays everywhere; browsers without
  // it have VP9.
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

  // Begins the next part of a kind. `cause`: of the gap before it.
  function begin(kind, cause) {
    const its = recorders[kind];
    its.part += 1;
    its.stopped = "";
    its.recorder.begin({ kind, part: its.part, part_at: now(), cause });
  }

  async function halt(kind, why) {
    const its = recorders[kind];
    if (!its || its.stopped) return;
    its.stopped = why;
    await its.recorder.end().catch(() => {});
  }

  const paused = "paused";

  // Records nothing until `resume`, which says the cause of the gap. The chunks so far can be pulled. Both are idempotent.
  async function pause() {
    await Promise.all(Object.keys(recorders).map((kind) => halt(kind, paused)));
    await last;
  }

  function resume(cause) {
    for (const [kind, { stopped }] of Object.entries(recorders)) if (stopped === paused) begin(kind, cause);
  }

  // Records the tab that the browser selects, by its title. Numbers go on where an earlier recorder of this bot ended.
  async function start(settings) {
    ({ options, seq, chunk_ms: soundMs } = settings);
    aheadMs = Date.now() - performance.now() - settings.wall_ahead_ms;
    const { kinds, width, height, fps } = options;
    const shared = await navigator.mediaDevices.getDisplayMedia({
      video: kinds.includes("video") ? { width: { max: width }, height: { max: height }, frameRate: { max: fps } } : true,
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, suppressLocalAudioPlayback: false },
    });
    globalThis.poolmgrKept = shared; // it ends if nothing refers to it
    const tracks = { audio: shared.getAudioTracks()[0], video: shared.getVideoTracks()[0] };
    for (const [kind, track] of Object.entries(tracks)) {
      if (!kinds.includes(kind)) track?.stop(); // the browser gives no sound without a picture
      else if (!track) throw new Error(`the tab gives no ${kind}`);
    }
    for (const kind of kinds) {
      const track = tracks[kind];
      track.onended = () => halt(kind, "tab");
      const recorder = kind === "audio" ? soundRecorder(track) : pictureRecorder(track, await codecOf(options));
      const most = Math.ceil((settings.buffer_s * 1000) / (kind === "audio" ? soundMs : PICTURES_MS));
      const stopped = settings.paused ? paused : "never began";
      recorders[kind] = { recorder, track, most, part: settings.parts[kind] - 1, stopped };
      if (!settings.paused) begin(kind, settings.cause);
    }
  }

  let isOver = false;

  // The oldest chunks, at most `wanted`. Chunks before `confirmed` are dropped: the agent has them on its disk. `cause`:
  // why nobody fetched chunks, if the buffer was full; without one nothing begins anew.
  async function pull(confirmed, wanted, cause) {
    await last;
    chunks = chunks.filter((chunk) => chunk.seq >= confirmed);
    const stopped = {};
    for (const [kind, its] of Object.entries(recorders)) {
      const waiting = chunks.filter((chunk) => chunk.kind === kind).length;
      const hasRoom = waiting <= its.most / 2;
      if (its.stopped === "full" && hasRoom && cause && !isOver && its.track.readyState === "live") begin(kind, cause);
      stopped[kind] = its.stopped;
    }
    const given = chunks.slice(0, wanted).map((chunk) => ({ ...chunk, data: toText(chunk.data) }));
    return { chunks: given, waiting: chunks.length, stopped, level };
  }

  async function stop() {
    isOver = true;
    await Promise.all(Object.keys(recorders).map((kind) => halt(kind, "asked")));
    await last;
  }

  Object.defineProperty(globalThis, "poolmgrRecorder", { value: Object.freeze({ start, pull, pause, resume, stop }) });
})();
