"""What batch normalisation buys a small CNN on MNIST: models, training loops, statistics, and the report made of them.

The data flow, module by module::

    data -> models -> training -> runs (store) -> records -> statistics -> findings, tables, plots -> execute -> render

`pipeline` ties them together for ``make report``.
"""

__version__ = "0.1.0"


class UserError(Exception):
    """Something the person at the keyboard can mend; its message is one line that says what is wrong and what to do."""
