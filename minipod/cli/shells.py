"""What shells are told when somebody presses Tab: click's answers, put right for values that stand behind `=`.

Bash cuts a line at each `=` and replaces what follows the last one; the others replace the whole word.
"""

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

_NO_SPACE = "    [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace\n"  # a value is to follow


class _Bash(BashComplete):
    source_template = BashComplete.source_template.replace(
        "    return 0\n", f"{_NO_SPACE}    return 0\n"
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return what is typed without the `=` between an option and its value."""
        args, incomplete = super().get_completion_args()
        return [each for each in args if each != "="], incomplete


class _WholeWord(ShellComplete):
    def get_completions(self, args: list[str], incomplete: str) -> "list[CompletionItem[str]]":
        """Return whole words, an option with its value too."""
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if not (equals and option.startswith("-")):
            return found
        return [
            CompletionItem(f"{option}={each.value}", each.type, each.help)
            for each in found
            if each.type == "plain"
        ]


class _Zsh(_WholeWord, ZshComplete):
    pass


class _Fish(_WholeWord, FishComplete):
    pass


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def register() -> None:
    """Have click answer by these."""
    for name, shell in SHELLS.items():
        add_completion_class(shell, name)
