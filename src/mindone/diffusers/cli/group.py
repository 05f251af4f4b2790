"""The group of commands: each is imported on demand, and mistakes end with one line."""

import importlib
from collections.abc import Mapping
from typing import Any, cast

import click

from ..interrupts import exit_code
from ..utils.errors import in_one_line
from ..utils.nearest import nearest_or_all
from .status import be_quiet, calm

_TEXT = "TEXT"
"""The placeholder of texts that may be empty."""


class Commands(click.Group):
    """A group whose commands have their own files and end with one line of explanation on an error.

    Args:
        files: the commands' names, which are their file names, with each one's short help.
        options: the options of ``click.Group``.
    """

    def __init__(self, files: Mapping[str, str], **options: object):
        super().__init__(**options)  # type: ignore[arg-type]
        self.files = files

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted(self.files)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name, imported now."""
        if cmd_name not in self.files:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command = cast(click.Command, getattr(module, cmd_name))
        _refuse_empty(command)
        if not any(parameter.name == "quiet" for parameter in command.params):
            command.params.append(_quiet())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The typed command; for an unknown name the error suggests the nearest one."""
        if args and args[0] not in self.files and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0][:40]!r}; {nearest_or_all(args[0], sorted(self.files))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the group's help, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self.files.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error is one line, and a signal has its usual exit code."""
        try:
            with calm():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # the reader of a pipe may stop early, as head does: click ends silently
        except KeyboardInterrupt:
            click.echo("\nAborted!", err=True)
            raise click.exceptions.Exit(exit_code()) from None
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            message = in_one_line(error)
            if not isinstance(error, (ValueError, OSError)):
                message += " (mindone-diffusers --debug … shows where)"
            raise click.ClickException(message) from None


def _quiet() -> click.Option:
    """The option of every command."""
    return click.Option(
        ["-q", "--quiet"],
        is_flag=True,
        expose_value=False,
        callback=lambda context, parameter, is_set: be_quiet() if is_set else None,
        help="Print only results and errors: no progress, no warnings.",
    )


class Given(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions
    """A text or a path that is not empty: a script's unset variable must not silently mean the default, or this folder.

    Args:
        kind: the type otherwise.
    """

    def __init__(self, kind: "click.ParamType[Any]"):
        self.kind, self.name = kind, kind.name
        self.shell_complete = kind.shell_complete  # type: ignore[method-assign]

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if value == "":
            self.fail("it is empty; give a value, or leave it out", param, ctx)
        return self.kind.convert(value, param, ctx)


def _refuse_empty(command: click.Command) -> None:
    """Let a command refuse empty values, except for texts that may be empty."""
    for each in command.params:
        may_be_empty = each.metavar == _TEXT or each.name == "prompt"
        if isinstance(each.type, (click.types.StringParamType, click.Path)) and not may_be_empty:
            each.type = Given(each.type)
