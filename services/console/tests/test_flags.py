from __future__ import annotations

from pathlib import Path

import pytest

from tickloom_console.flags import RestartPolicy, SqlOptions, UpOptions, read_options


def test_up_takes_its_restart_policy_from_flags():
    """The names of the flags are the ones users know."""
    options = read_options(["up", "--config=a.yaml", "--workers=3", "--restart_base_s=0.5", "--restart_max_s=9"])
    assert options == UpOptions(Path("a.yaml"), 3, None, None, RestartPolicy(0.5, 9.0))


def test_a_query_is_one_argument():
    """`tickloom sql` takes the query and finds the rest by itself."""
    assert read_options(["sql", "select 1"]) == SqlOptions("select 1", None, Path("tickloom.yaml"), None)


@pytest.mark.parametrize(
    "arguments", [[], ["start"], ["up", "--workers=0"], ["up", "--duration=-1"], ["up", "--duration=nan"], ["sql"]]
)
def test_a_wrong_command_line_is_code_2(arguments, capsys):
    """Usage goes to standard error, the exit code is that of a wrong configuration."""
    with pytest.raises(SystemExit) as ended:
        read_options(arguments)
    assert ended.value.code == 2
    assert "usage: tickloom" in capsys.readouterr().err
