"""What the processes of the stack are put together from."""

from twin.plant import COMMANDS
from twin.stack import catalogue


def test_the_console_is_given_every_command_with_what_the_plant_allows() -> None:
    verbs = {(verb.verb, verb.unit_kind): {param.name: param for param in verb.params} for verb in catalogue()}
    assert set(verbs) == {(command.verb, kind) for command in COMMANDS.values() for kind in command.kinds}
    for (verb, _), params in verbs.items():
        for allowed in COMMANDS[verb].params:
            shown = params[allowed.name]
            limits = (None, None) if allowed.choices else (allowed.low, allowed.high)
            assert (shown.min, shown.max, shown.choices) == (*limits, allowed.choices)
    assert verbs["cdu.select_pump", "cdu"]["pump"].choices == ("A", "B")
