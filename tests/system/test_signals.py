import os
import signal

import pytest

from bnlib.system.signals import terminable


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_ends_the_block_as_an_interruption(name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt, match=name), terminable():
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_signal_that_is_to_be_ignored_is_ignored():
    """As nohup has it of SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGHUP)
    except KeyboardInterrupt:  # which would end all tests
        pytest.fail("it was not ignored")
    finally:
        signal.signal(signal.SIGHUP, before)
