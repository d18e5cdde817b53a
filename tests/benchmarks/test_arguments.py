"""benchmarks/arguments.py: options that several commands share."""

import pytest

from mmptq.errors import MmptqError


@pytest.fixture
def arguments():
    import arguments

    return arguments


def test_some_or_all_of_what_is_known_is_chosen(arguments, capsys):
    parser = arguments.new_parser("Help.")
    arguments.add_choices(parser, models={"a": 1, "b": 2}, columns=("W8A8", "W4A4"))
    assert vars(parser.parse_args(["--models", "b"])) == {
        "models": ["b"],
        "columns": ["W8A8", "W4A4"],
    }
    with pytest.raises(SystemExit):
        parser.parse_args(["--columns", "W3A3"])
    assert "choose from" in capsys.readouterr().err


def test_bad_input_ends_a_command_with_one_line(arguments):
    def fail():
        raise MmptqError("x = 3: must be 2")

    with pytest.raises(SystemExit, match=r"^error: x = 3: must be 2$"):
        arguments.run(fail)
    with pytest.raises(SystemExit, match="^3$"):
        arguments.run(lambda: 3)
    arguments.run(lambda: None)
    arguments.run(lambda: 0)


def test_options_keep_their_types(arguments):
    given = ["tau=0.1", "schedule=restart", "stops=3", "bounds=(0.5,2)"]
    assert arguments.parse_options(given) == {
        "tau": 0.1,
        "schedule": "restart",
        "stops": 3,
        "bounds": (0.5, 2),
    }
