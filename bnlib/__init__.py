"""What batch normalisation buys a small CNN on MNIST: an experiment, its analysis, and the report made of them.

The data flow, wing by wing::

    experiment.Study -> training, runs -> experiment.records -> analysis -> page
                                  (what people type: commands; the world outside: system)

A wing imports only what stands below it. `analysis` and `page` never import `training` or `runs`: the two columns meet in
`experiment`, in `commands` and in notebooks.
"""

__version__ = "0.1.0"


class UserError(Exception):
    """Something the person at the keyboard can mend; its message is one line that says what is wrong and what to do."""
