"""A server that speaks the protocols of two providers of speech to text, and really hears: what it answers is what its
recogniser (tones.py) makes of the sound that came.

    GET  /v1/listen                  Deepgram's, live, over a WebSocket
    POST /v1/listen                  Deepgram's, of a file
    POST /v1/audio/transcriptions    OpenAI's, of a file in a form
"""

import asyncio
import io
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import av
import av.error
import msgspec
from aiohttp import WSMsgType, web

from lab.speech.tones import RATE, Recogniser, Tone

KEY: Final = "a-key-of-the-lab"
_PAUSE_S: Final = 0.3
"""The silence that ends an utterance, as `endpointing` asks for."""
_MOST_BYTES: Final = 64 * 1024 * 1024


class Speech:
    """`answers`: statuses with which the next calls are answered instead. `most_bytes`: of a file. `patience_s`: after
    so long without sound and KeepAlive it closes the connection. `gives_words`: it answers with words, too, and not
    only with sentences, where the protocol has both; `gives_times`: not only with a text. `slow_s`: how long an answer
    to a form takes. These record the calls: `queries` of live calls, `controls` that came on sockets, `forms` and the
    `sizes` of files.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: deque[int] = deque()
        self.most_bytes = 25 * 1024 * 1024
        self.patience_s = 10.0
        self.gives_words = True
        self.gives_times = True
        self.slow_s = 0.0
        self.queries: list[dict[str, str]] = []
        self.controls: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.sizes: list[int] = []
        self.connections = 0
        self._open: set[web.WebSocketResponse] = set()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_get("/v1/listen", self._listen)
        app.router.add_post("/v1/listen", self._read_file)
        app.router.add_post("/v1/audio/transcriptions", self._read_form)
        return app

    async def hang_up(self) -> None:
        for socket in list(self._open):
            await socket.close(code=1011, message=b"NET-0000")

    def _check(self, request: web.Request, scheme: str) -> None:
        if self.answers:
            raise _RefusedError(self.answers.popleft())
        if request.headers.get("Authorization") != f"{scheme} {KEY}":
            raise _RefusedError(401)

    # Deepgram's

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check(request, "Token")
        except _RefusedError as refused:
            return refused.answer
        query = dict(request.query)
        if query.get("encoding") != "linear16" or query.get("sample_rate") != str(RATE) or query.get("channels") != "1":
            return web.json_response({"err_code": "INVALID_QUERY_PARAMETER"}, status=400)
        self.queries.append(query)
        self.connections += 1
        socket = web.WebSocketResponse(receive_timeout=self.patience_s)
        await socket.prepare(request)
        self._open.add(socket)
        try:
            await self._hear(socket, _Stream(interim=query.get("interim_results") == "true"))
        except TimeoutError:
            await socket.close(code=1011, message=b"NET-0001")
        finally:
            self._open.discard(socket)
        return socket

    async def _hear(self, socket: web.WebSocketResponse, stream: "_Stream") -> None:
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.BINARY:
                for result in stream.take(message.data):
                    await socket.send_json(result)
            elif message.type is WSMsgType.TEXT:
                kind = msgspec.json.decode(message.data)["type"]
                self.controls.append(kind)
                if kind == "Finalize":
                    await socket.send_json(stream.finish(from_finalize=True))
                if kind == "CloseStream":
                    await socket.send_json(stream.finish())
                    await socket.send_json({"type": "Metadata", "duration": stream.heard_s, "channels": 1})
                    await socket.close()
                    return
            else:
                return

    async def _read_file(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check(request, "Token")
            words = await asyncio.to_thread(words_in, await request.read())
        except _RefusedError as refused:
            return refused.answer
        channel = {"alternatives": [_alternative(words)]}
        return web.json_response({"metadata": {"channels": 1}, "results": {"channels": [channel]}})

    # OpenAI's

    async def _read_form(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check(request, "Bearer")
            form = await request.post()
            fields = {name: [str(value) for value in form.getall(name)] for name in form if name != "file"}
            self.forms.append(fields)
            file = form["file"]
            assert isinstance(file, web.FileField)
            with file.file as uploaded:
                data = uploaded.read()
            self.sizes.append(len(data))
            if len(data) > self.most_bytes:
                raise _RefusedError(413)
            if fields.get("response_format") != ["verbose_json"]:
                raise _RefusedError(400)
            words = await asyncio.to_thread(words_in, data)
            await asyncio.sleep(self.slow_s)
        except _RefusedError as refused:
            return refused.answer
        text = _written(words)
        segment = {"id": 0, "start": words[0].begins_s, "end": words[-1].ends_s, "text": f" {text}"} if words else None
        answer: dict[str, Any] = {"task": "transcribe", "language": "tones", "text": text}
        if not self.gives_times:
            return web.json_response({"text": text})
        answer["segments"] = [segment] if segment else []
        if "word" in fields.get("timestamp_granularities[]", ()) and self.gives_words:
            answer["words"] = [{"word": word.word, "start": word.begins_s, "end": word.ends_s} for word in words]
        return web.json_response(answer)


class _RefusedError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.answer = web.json_response({"error": {"message": "no"}}, status=status)


class _Stream:
    """What was recognised in a live call, with results in Deepgram's form."""

    def __init__(self, *, interim: bool) -> None:
        self._recogniser = Recogniser()
        self._interim = interim
        self._words: list[Tone] = []  # words that are not final yet
        self._told: list[Tone] = []
        self._since_s = 0.0

    @property
    def heard_s(self) -> float:
        return self._recogniser.heard_s

    def take(self, pcm: bytes) -> list[dict[str, Any]]:
        self._words += self._recogniser.take(pcm)
        under_way = self._recogniser.under_way
        if self._words and not under_way and self.heard_s - self._words[-1].ends_s >= _PAUSE_S:
            return [self._result(self._words, is_final=True, speech_final=True)]
        guess = [*self._words, under_way] if under_way else self._words
        if not self._interim or [word.word for word in guess] == [word.word for word in self._told]:
            return []
        self._told = list(guess)
        return [self._result(guess, is_final=False)]

    def finish(self, *, from_finalize: bool = False) -> dict[str, Any]:
        self._words += self._recogniser.end()
        return self._result(self._words, is_final=True, from_finalize=from_finalize)

    def _result(
        self, words: Sequence[Tone], *, is_final: bool, speech_final: bool = False, from_finalize: bool = False
    ) -> dict[str, Any]:
        result = {
            "type": "Results",
            "channel_index": [0, 1],
            "start": self._since_s,
            "duration": self.heard_s - self._since_s,
            "is_final": is_final,
            "speech_final": speech_final,
            "from_finalize": from_finalize,
            "channel": {"alternatives": [_alternative(words)]},
            "metadata": {"request_id": "0", "model_info": {"name": "tones"}},
        }
        if is_final:
            self._words, self._told, self._since_s = [], [], self.heard_s
        return result


def _alternative(words: Sequence[Tone]) -> dict[str, Any]:
    said = [
        {
            "word": word.word,
            "start": word.begins_s,
            "end": word.ends_s,
            "confidence": 0.99,
            "punctuated_word": written,
            "speaker": word.voice,
        }
        for word, written in zip(words, _written(words).split(), strict=True)
    ]
    return {"transcript": _written(words), "confidence": 0.99, "words": said}


def _written(words: Sequence[Tone]) -> str:
    return f"{' '.join(word.word for word in words).capitalize()}." if words else ""


def words_in(data: bytes) -> list[Tone]:
    """The words in a file of any format. Raises: _RefusedError for a file that is no sound."""
    recogniser = Recogniser()
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    found: list[Tone] = []
    try:
        opened: Any = av.open(io.BytesIO(data))
        with opened as file:
            for frame in file.decode(audio=0):
                for part in resampler.resample(frame):
                    found += recogniser.take(bytes(part.planes[0])[: part.samples * 2])
    except (av.error.FFmpegError, IndexError) as error:
        raise _RefusedError(400) from error
    return [*found, *recogniser.end()]


@asynccontextmanager
async def serving(speech: Speech, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[Speech]:
    """Serve at `speech.url` while the context is open."""
    runner = web.AppRunner(speech.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        speech.url = f"http://{host}:{runner.addresses[0][1]}"
        yield speech
    finally:
        await speech.hang_up()
        await runner.cleanup()
