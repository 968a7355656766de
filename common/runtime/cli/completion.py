"""`completion` of both programs: prints the script that lets a shell complete their words. Click writes the script."""

from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

from common.runtime.cli.session import Session, put_json, with_session

_SHELLS: Final = ("bash", "zsh", "fish")
_HELP: Final = """Print the script by which SHELL completes the words of {program}: commands, options, {names}.

    {what_is_asked}

    \b
    Examples:
      {program} completion bash > /etc/bash_completion.d/{program}
      source <({program} completion bash)
      {program} completion zsh > ~/.zfunc/_{program}
      {program} completion fish > ~/.config/fish/completions/{program}.fish
    """


def completion_of(program: str, names: str, what_is_asked: str = "") -> click.Command:
    """The command `completion` of `program`, which also completes `names`."""

    @click.command("completion", help=_HELP.format(program=program, names=names, what_is_asked=what_is_asked))
    @click.argument("shell", type=click.Choice(_SHELLS), metavar="SHELL")
    @click.pass_context
    @with_session
    def completion(session: Session, context: click.Context, shell: str) -> None:
        script = script_of(context.find_root().command, program, shell)
        if session.as_json:
            put_json({"shell": shell, "script": script})
        else:
            click.echo(script)

    return completion


def session_of(context: click.Context) -> Session:
    """The context in which a word of a command is completed. Its configuration file is the one that the line or the
    environment names.
    """
    above: click.Context | None = context
    while above:
        if path := above.params.get("config_path"):
            return Session(path)
        above = above.parent
    return Session(None)


def script_of(command: click.Command, program: str, shell: str) -> str:
    kind = get_completion_class(shell)
    assert kind, shell
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    # Click's class for bash is not used: it asks this machine's bash for its version. The script may be used elsewhere.
    return ShellComplete.source(kind(command, {}, program, variable))
