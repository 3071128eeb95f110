"""One suspect at a time in a process."""

from tds_runtime import sql
from tds_runtime.trial import SUSPECT, Trial


def test_there_is_one_trial_at_a_time() -> None:
    """A second one cannot begin before the first has ended."""
    trial = Trial()
    assert trial.begin()
    assert not trial.begin()
    trial.end()
    assert trial.begin()


def test_the_statement_knows_the_same_suspects() -> None:
    """What the claim compares is the attempts before the one that makes a task a suspect."""
    assert f"attempt_count < {SUSPECT - 1} " in sql.load("queue/claim")
