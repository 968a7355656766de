"""`python -m lab.speech`: the server that recognises the tones, for trying it by hand. Prints what to put into the
configuration.
"""

import asyncio
import signal
from pathlib import Path

import click

from lab.speech.server import KEY, Speech, serving
from lab.speech.tones import PITCHES


@click.command
@click.option("--port", default=8095, show_default=True, type=click.IntRange(1, 65535), help="Of 127.0.0.1.")
@click.option(
    "--key-file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where its key is written."
)
def main(port: int, key_file: Path) -> None:
    """Speaks Deepgram's and OpenAI's protocols, and recognises a language of eight tones. Runs until Ctrl-C."""
    key_file.touch(mode=0o600)
    key_file.write_text(KEY)
    asyncio.run(_serve(port, key_file.resolve()))


async def _serve(port: int, key_file: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(Speech(), port=port) as speech:
        for line in (
            "[transcription]",
            'live = "deepgram_streaming"',
            'after = "openai"',
            f'deepgram_url = "{speech.url}"',
            f'deepgram_key_file = "{key_file}"',
            f'openai_url = "{speech.url}/v1"',
            f'openai_key_file = "{key_file}"',
            "allow_http = true",
            'allowed_networks = ["127.0.0.0/8"]',
            f"# words: {', '.join(f'{word} is {hz} Hz' for word, hz in PITCHES.items())}",
        ):
            click.echo(line)
        await stop.wait()


if __name__ == "__main__":
    main()
