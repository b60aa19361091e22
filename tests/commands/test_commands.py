import pytest

from bnlib import UserError, commands


def failing(error: BaseException):
    def task() -> bool:
        raise error

    return task


@pytest.mark.parametrize(
    ("task", "status", "said"),
    [
        (lambda: True, 0, ""),
        (lambda: False, 1, ""),
        (failing(UserError("do this instead")), 1, "error: do this instead\n"),
        (failing(OSError(28, "No space left on device", "/full")), 1, "error: /full: No space left on device; "),
        (failing(KeyboardInterrupt()), 130, "\nit goes on\n"),
    ],
)
def test_command_ends_with_a_status_and_at_most_one_line(task, status, said, capsys):
    assert commands.run(task, "it goes on") == status
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.strip().count("\n") == 0


@pytest.mark.parametrize(("value", "keeps"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_keep_is_off_unless_it_is_set(value, keeps, monkeypatch):
    monkeypatch.delenv("KEEP", raising=False)
    if value is not None:
        monkeypatch.setenv("KEEP", value)
    assert commands.keeps() is keeps
