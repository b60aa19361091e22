import shutil

import pytest

from bnlib.commands import reproduce
from bnlib.commands.reproduce import compared_claims, compared_contrasts, compared_runs, page, summary
from bnlib.experiment import studies
from bnlib.experiment.config import RunConfig
from bnlib.experiment.records import Epoch, Run
from bnlib.runs import cluster
from bnlib.system import files, paths
from tests.conftest import contents, make_epochs, results_of


def a_run(loss: float = 0.5, epochs: int = 2, seed: int = 0) -> Run:
    config = RunConfig(dataset="digits", seed=seed, learning_rate=0.001, epochs=epochs)
    return Run(config, tuple(Epoch(n, loss, 0.9, loss, 0.9, 10, 1.0) for n in range(1, epochs + 1)), {"data": "d", "code": "c"})


def test_run_with_other_numbers_says_which_differ_first():
    (same,), (other,), (alone,) = (compared_runs([a_run()], [run]) for run in (a_run(), a_run(0.25), a_run(seed=1)))
    assert same["other"] == []
    assert other["other"][0] == "train loss of epoch 1: 0.25, not 0.5"
    assert alone["other"] is None


def test_shorter_run_is_held_against_the_first_epochs_of_the_report_s():
    (found,) = compared_runs([a_run(epochs=10)], [a_run(epochs=2)])
    assert found["other"] == []
    (found,) = compared_runs([a_run(epochs=2)], [a_run(epochs=10)])
    assert found["other"] is None


def losses(differences: list[float]) -> dict:
    """Records of one epoch, in which batch norm changes the loss of each seed by so much."""
    seeds = dict(enumerate(differences))
    return make_epochs(
        {
            ("none", 0.001): {seed: [(1.0, 0.9)] for seed in seeds},
            ("batch", 0.001): {seed: [(1.0 + by, 0.9)] for seed, by in seeds.items()},
        }
    )


def test_difference_is_inside_where_the_report_s_pairs_predict_it():
    # -0.1, -0.2, -0.3: mean -0.2, standard deviation 0.1; t of 2 degrees of freedom 4.3027; one new pair lies within
    # 4.3027 * 0.1 * sqrt(1 + 1/3) = 0.4968 of the mean, the mean of three within 4.3027 * 0.1 * sqrt(1/3 + 1/3) = 0.3513.
    kept = results_of(losses([-0.1, -0.2, -0.3]))
    for new, inside in (([0.29], True), ([0.30], False), ([0.15] * 3, True), ([0.16] * 3, False)):
        rows = compared_contrasts(kept, results_of(losses(new)))
        row = next(row for row in rows if row["outcome"] == "training loss of epoch 1")
        assert row["inside"] is inside, new
    assert (row["kept"], row["low"], row["high"]) == ("−0.2000", "−0.5513", "+0.1513")


def test_rate_that_the_report_lacks_is_not_compared():
    anew = results_of(make_epochs({(norm, 0.01): {0: [(1.0, 0.9)]} for norm in ("none", "batch")}))
    assert compared_contrasts(results_of(losses([-0.1, -0.2])), anew) == []


def test_verdicts_are_held_against_each_other(epochs):
    found = {"learning_rate": results_of(epochs)}
    claims = compared_claims(found, found)
    assert {claim["kept"] for claim in claims} > {"not tested"}
    assert all(claim["kept"] == claim["anew"] for claim in claims)


def test_page_and_summary_count_the_same():
    runs = compared_runs([a_run(), a_run(seed=1)], [a_run(), a_run(0.25, seed=1), a_run(seed=2)])
    rows = compared_contrasts(results_of(losses([-0.1, -0.2, -0.3])), results_of(losses([0.5])))
    claims = [{"number": 1, "name": "faster", "kept": "supported", "anew": "not shown by these data"}]
    said = {"report": "reports/mnist", "dataset": "mnist", "runs": runs, "contrasts": rows, "claims": claims, "agreeing": 0}
    said |= {"machines": {"torch": ("1", "2")}, "seeds": {"learning rate": (3, 1)}}
    judged = [row for row in rows if row["inside"] is not None]
    inside = sum(row["inside"] for row in judged)
    text = page(said)
    assert "1 of 2 came out the same" in text
    assert "no run to hold 1 of them against" in text
    assert f"{inside} of {len(judged)} lie where" in text
    assert inside < len(judged)
    assert "| torch | 1 | 2 |" in text
    assert "0 of 1 have the same verdict" in text
    assert "1 of 2 have the bits" in summary(said)


@pytest.fixture
def report(made, tmp_path, monkeypatch):
    """A copy of a finished report on the digits, which `reproduce` finds."""
    shutil.copytree(made[0] / "reports", tmp_path / "reports")
    for name, value in (("DATASET", "digits"), ("SEEDS", "1")):
        monkeypatch.setenv(name, value)
    return tmp_path / "reports/digits"


@pytest.mark.long
def test_all_runs_are_done_anew_beside_the_report_which_stays_as_it_is(report, capsys):
    before = contents(report)
    assert reproduce.main() == 0
    said = capsys.readouterr().out
    text = (report.parent / "reproduction/digits/reproduction.md").read_text(encoding="utf-8")
    runs = len(files_of_runs(report.parent / "reproduction/digits"))
    assert f"{runs} of {runs} have the bits" in said
    assert f"{runs} of {runs} came out the same" in text
    assert contents(report) == before


def test_runs_come_neither_from_a_store_nor_from_a_cluster(monkeypatch):
    seen = []
    monkeypatch.setenv("SCHEDULER", "tcp://somewhere:1")
    chain = studies.replay(seeds=1, epochs=1, dataset="digits")

    def run_all(configs, data, anew):
        seen.append((paths.cache(), cluster.address(), anew))
        return configs

    monkeypatch.setattr(reproduce.datasets, "load", lambda name: name)
    monkeypatch.setattr(reproduce, "run_all", run_all)
    assert reproduce._anew([chain], "digits") == {"replay": chain.configs}
    assert seen == [(paths.cache() / "reproduction", None, True)]


def files_of_runs(folder) -> list[str]:
    return (folder / "runs.csv").read_text(encoding="utf-8").splitlines()[1:]


def test_report_whose_records_were_changed_is_not_held_against(report, capsys, monkeypatch):
    monkeypatch.setenv("SCHEDULER", "tcp://127.0.0.1:1")  # nobody is there, and nobody is needed
    path = report / "data/epochs.csv"
    head, first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    files.write(path, "".join([head, first, first, *rest]))
    assert reproduce.main() == 1
    assert "has an epoch twice" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "[]x"])
def test_report_whose_studies_cannot_be_read_is_not_trained_for_hours_first(content, report, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "run_all", lambda *_, **__: pytest.fail("trained"))
    path = report / "data/studies.json"
    path.unlink()
    if content:
        files.write(path, content)
    assert reproduce.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "studies.json cannot be read" in said
    assert said.count("\n") == 1
