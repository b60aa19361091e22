import inspect

import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from bnlib import UserError
from bnlib.experiment import settings as settings_of
from bnlib.experiment import studies
from bnlib.experiment.config import CHAIN, LEVELS, RunConfig
from bnlib.experiment.settings import ALWAYS, LATER, Settings
from bnlib.experiment.studies.whole import SMALL
from bnlib.experiment.study import Study
from tests.conftest import make_epochs

FOUR = ("none", "batch", "group", "layer")
FACTORS = {"norm": ("none", "batch"), "learning_rate": (0.001, 0.01)}


def ask(**fields) -> Study:
    """A study of two arms at two rates, two seeds each, unless told otherwise."""
    given = {"name": "learning_rate", "notebook": "learning_rate", "factors": FACTORS, "reference": {"norm": "none"}}
    return Study(**given | {"seeds": 2, "epochs": 3, "held": {"dataset": "mnist"}} | fields)


def crossed(**fields) -> Study:
    """Four arms, of two norms with two optimizers each, at one rate."""
    factors = {"norm": ("none", "batch"), "optimizer": ("adam", "sgd"), "learning_rate": (0.001,)}
    return ask(factors=factors, reference={"norm": "none", "optimizer": "adam"}, **fields)


def controls(**fields) -> Study:
    """Three arms besides the reference, each other in one factor."""
    factors = {"norm": ("none", "group"), "activation": ("relu", "leaky_relu"), "warmup": (0, 600), "learning_rate": (0.01,)}
    asked = {"reference": {"norm": "none", "activation": "relu", "warmup": 0}, "name": "controls", "seeds": 1}
    return ask(
        factors=factors, **asked | {"combined": [{"norm": "group"}, {"warmup": 600}, {"activation": "leaky_relu"}]} | fields
    )


def names(asked: Study) -> list[str]:
    return [arm.name for arm in asked.arms]


def labels(asked: Study) -> list[str]:
    return [arm.label for arm in asked.arms]


def test_reference_is_the_first_arm():
    assert names(ask()) == ["none", "batch"]
    turned = ask(reference={"norm": "batch"})
    assert names(turned) == ["batch", "none"]
    assert turned.arms[0].levels == {"norm": "batch"}


def test_two_arms_are_called_with_and_without_the_norm():
    assert labels(ask()) == ["without batch norm", "with batch norm"]
    assert labels(ask(factors=FACTORS | {"norm": ("none", "group")})) == ["without group norm", "with group norm"]


def test_among_several_norms_the_arm_without_any_is_called_after_none_of_them():
    several = ask(factors=FACTORS | {"norm": FOUR})
    assert labels(several) == ["without a norm", "with batch norm", "with group norm", "with layer norm"]


def test_two_factors_make_arms_of_each_combination():
    assert names(crossed()) == ["none, adam", "none, sgd", "batch, adam", "batch, sgd"]
    assert labels(crossed())[-1] == "with batch norm, with SGD with momentum"
    assert crossed().family == 3
    assert len(crossed().configs) == 8


def test_arms_that_are_no_product_are_called_after_what_they_have_that_is_not_the_default():
    mixed = controls()
    assert names(mixed) == ["none", "group", "warmup 600", "leaky_relu"]
    assert labels(mixed) == ["without a norm", "with group norm", "with a warm-up of 600 steps", "with leaky ReLU"]
    assert [(c.norm, c.warmup, c.activation) for c in mixed.configs] == [
        ("none", 0, "relu"),
        ("group", 0, "relu"),
        ("none", 600, "relu"),
        ("none", 0, "leaky_relu"),
    ]
    assert mixed.family == 3
    against = controls(
        reference={"norm": "group", "activation": "relu", "warmup": 0}, combined=[{"norm": "none", "warmup": 600}]
    )
    assert names(against) == ["group", "warmup 600"]


def test_arms_keep_their_names_whichever_they_are_held_against():
    assert set(names(controls().against("group"))) == set(names(controls()))
    with pytest.raises(ValueError, match="name its arms in `combined`"):
        crossed().against("none, sgd")


def test_records_are_those_of_arms_that_are_no_product():
    runs = make_epochs({("none", 0.01): {0: [(0.1, 0.9)]}, ("group", 0.01): {0: [(0.1, 0.9)]}}, study="controls")
    warm, both = runs.assign(warmup=600), runs.assign(warmup=600, activation="leaky_relu")
    found = controls().of(pd.concat([runs, warm, both]))
    assert list(found.arm) == ["none", "group", "warmup 600"]


def test_factor_without_names_for_its_levels_is_named_itself():
    warm = ask(factors={"warmup": (0, 200), "learning_rate": (0.01,)}, reference={"warmup": 0})
    assert labels(warm) == ["with a warm-up of 0 steps", "with a warm-up of 200 steps"]


def test_what_a_notebook_registers_is_called_as_it_says(monkeypatch):
    monkeypatch.setitem(LEVELS["norm"], "mine", "my norm")
    assert labels(ask(factors=FACTORS | {"norm": ("none", "mine")})) == ["without my norm", "with my norm"]


def test_cells_are_the_settings_of_the_other_factors():
    assert ask().cells == ({"learning_rate": 0.001}, {"learning_rate": 0.01})
    both = ask(factors=FACTORS | {"batch_size": (50, 100)})
    assert both.cells[:2] == ({"learning_rate": 0.001, "batch_size": 50}, {"learning_rate": 0.001, "batch_size": 100})
    assert len(both.cells) == 4


def test_family_is_each_other_arm_in_each_cell():
    assert ask().family == 2
    assert ask(factors=FACTORS | {"norm": FOUR}).family == 3 * 2
    assert studies.replay(seeds=1, epochs=1, dataset="mnist").family == 3


def test_runs_are_asked_for_pair_by_pair():
    runs = [(c.learning_rate, c.seed, c.norm) for c in ask().configs]
    assert runs == [(rate, seed, norm) for rate in (0.001, 0.01) for seed in (0, 1) for norm in ("none", "batch")]
    assert ask(held={"dataset": "digits", "batch_size": 50}).configs[0] == RunConfig(
        dataset="digits", batch_size=50, learning_rate=0.001, seed=0, norm="none", epochs=3
    )


def test_rates_are_ascending():
    assert ask(factors=FACTORS | {"learning_rate": (0.01, 0.001)}).rates == (0.001, 0.01)


def test_page_is_named_for_the_study_and_its_part():
    assert ask().page == "learning-rate.html"
    assert ask(part="0.001").page == "learning-rate-0.001.html"
    assert ask(part="0.001").stem == "learning-rate-0.001"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"factors": FACTORS | {"colour": ("red",)}}, "'colour' is no factor; known: network, norm"),
        ({"factors": FACTORS | {"norm": ("none", "bach")}}, "'bach' is no norm; known: none, batch"),
        ({"factors": FACTORS | {"norm": ("none", "none")}}, "norm: give at least one level, and each once"),
        ({"factors": FACTORS | {"learning_rate": ()}}, "learning_rate: give at least one level"),
        ({"factors": FACTORS | {"learning_rate": (-1.0,)}}, "greater than 0"),
        ({"reference": {"norm": "group"}}, "reference: 'group' is no level of norm"),
        ({"reference": {"optimizer": "adam"}}, "reference: 'adam' is no level of optimizer"),
        ({"combined": [{"norm": "group"}]}, "combined: 'group' is no level of norm"),
        ({"combined": [{"learning_rate": 0.01}]}, "combined: 0.01 is no level of learning_rate"),
        ({"probes": ("thoughts",)}, "'thoughts' is no probe; known: dead, classes"),
        ({"outcomes": ("beauty",)}, "'beauty' is no outcome; known: train_loss_first"),
        ({"held": {"dataset": "mnist", "colour": "red"}}, "colour"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"epochs": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_unknown_is_refused(fields, reason):
    with pytest.raises(ValidationError, match=reason):
        ask(**fields)


def test_ten_arms_are_refused():
    five, two = {"norm": tuple(LEVELS["norm"])[:5]}, {"activation": ("relu", "leaky_relu")}
    reference = {"reference": {"norm": "none", "activation": "relu"}}
    assert len(ask(factors=FACTORS | five | two, **reference | {"combined": [{"norm": "batch"}]}).arms) == 2
    with pytest.raises(ValidationError, match="10 arms; 9 at the most"):
        ask(factors=FACTORS | five | two, **reference)


def every(seeds: int = 2, **changed: str) -> pd.DataFrame:
    cells = {(norm, rate): {s: [(0.1, 0.9)] for s in range(seeds)} for norm in ("none", "batch") for rate in (0.001, 0.01)}
    return make_epochs(cells).assign(**changed)


def test_records_are_told_apart_by_arm():
    mine = ask().of(every())
    assert mine.arm.tolist() == mine.norm.tolist()
    assert len(mine) == 8


def test_records_of_arms_of_two_factors_have_both_in_their_name():
    epochs = pd.concat([every(), every(optimizer="sgd")])
    assert crossed().of(epochs).arm.value_counts().to_dict() == dict.fromkeys(names(crossed()), 2)


def test_records_of_fewer_seeds_leave_out_the_others():
    mine = ask(seeds=2).of(every(seeds=5))
    assert sorted(mine.seed.unique()) == [0, 1]
    assert len(mine) == 8


def test_records_of_other_studies_arms_and_cells_are_left_out():
    asked = ask(factors={"norm": ("none", "batch"), "learning_rate": (0.001,)})
    others = every(study="replay"), make_epochs({("group", 0.001): {0: [(0.1, 0.9)]}})
    mine = asked.of(pd.concat([every(), *others], ignore_index=True))
    assert set(mine.learning_rate) == {0.001}
    assert set(mine.arm) == {"none", "batch"}
    assert len(mine) == 4


def test_nothing_is_missing_where_every_run_is_there():
    assert ask(epochs=1).missing(every()) == []


def test_what_is_missing_is_named():
    epochs = every()
    gone = (epochs.norm == "batch") & (epochs.learning_rate == 0.01) & (epochs.seed == 1)
    assert ask(epochs=1).missing(epochs[~gone]) == ["with batch norm at learning rate 0.01: 1 of 2 runs"]
    assert ask(epochs=1).missing(epochs[epochs.learning_rate == 0.001]) == [
        "without batch norm at learning rate 0.01: 2 of 2 runs",
        "with batch norm at learning rate 0.01: 2 of 2 runs",
    ]


def test_without_any_records_all_is_missing():
    for epochs in (every(study="other"), every()[:0]):
        assert len(ask().missing(epochs)) == 4
        assert ask().of(epochs).empty


CHAIN_STUDY = studies.replay(seeds=2, epochs=3, dataset="mnist")


@pytest.mark.parametrize(
    "asked", [ask(), crossed(), CHAIN_STUDY, ask(held={"dataset": "mnist", "warmup": 5, "precision": "bf16"})]
)
def test_study_reads_back_from_json(asked):
    again = Study.model_validate_json(asked.model_dump_json())
    assert again == asked
    assert again.configs == asked.configs
    assert TypeAdapter(list[Study]).validate_json(TypeAdapter(list[Study]).dump_json([asked])) == [asked]


def test_replay_goes_through_the_rates_with_one_pair_of_networks_for_each_seed():
    first, second, *_ = CHAIN_STUDY.configs
    assert (first.learning_rate, *first.later_rates) == CHAIN
    assert (first.norm, second.norm, first.seed, second.seed) == ("none", "batch", 0, 0)
    assert first.all_epochs == 9
    assert len(CHAIN_STUDY.configs) == 4
    assert [cell["learning_rate"] for cell in CHAIN_STUDY.cells] == list(CHAIN)
    epochs = make_epochs({("none", rate): {0: [(0.1, 0.9)]} for rate in CHAIN}, study="replay")
    assert CHAIN_STUDY.of(epochs).learning_rate.tolist() == list(CHAIN)


def test_parts_of_one_study_are_joined():
    parts = [studies.each_rate(rate, arms=("none", "batch"), seeds=2, epochs=3, dataset="mnist") for rate in (0.01, 0.001)]
    assert [part.page for part in parts] == ["learning-rate-0.01.html", "learning-rate-0.001.html"]
    whole, chain = studies.joined([parts[0], CHAIN_STUDY, parts[1]])
    assert whole.factors == {"norm": ("none", "batch"), "learning_rate": (0.01, 0.001)}
    assert (whole.part, whole.page) == ("", "learning-rate.html")
    assert whole.family == 2
    assert chain == CHAIN_STUDY
    assert len(whole.configs) == sum(len(part.configs) for part in parts)


def test_studies_of_a_report_are_those_of_its_settings():
    always = "rates range replay"
    settings = Settings(learning_rates="0.001 0.01", arms="none group", seeds=5, study_seeds=3, epochs=7, studies=always)
    asked = studies.studies(settings, "digits", "cpu")
    assert [each.name for each in asked] == ["learning_rate"] * 2 + ["learning_rate_range", "replay"]
    assert [each.part for each in asked] == ["0.001", "0.01", "", ""]
    assert [each.seeds for each in asked] == [5, 5, 3, 3]
    assert [each.epochs for each in asked] == [7, 7, 2, 7]
    assert [names(each) for each in asked] == [["none", "group"]] * 3 + [["none", "batch"]]
    assert asked[2].rates == Settings().range_rates
    assert {(config.dataset, config.device) for each in asked for config in each.configs} == {("digits", "cpu")}


def test_controls_go_over_the_same_rates_as_the_range():
    settings = Settings(range_rates=(0.0005, 0.5), studies=(*ALWAYS, "controls"))
    by_name = {study.name: study for study in studies.studies(settings, "mnist", "cpu")}
    assert by_name["controls_range"].rates == by_name["learning_rate_range"].rates == (0.0005, 0.5)


ALL_CHANGED = {
    "learning_rates": (0.002, 0.02),
    "range_rates": (0.0005, 0.5),
    "arms": ("layer", "none", "batch"),
    "seeds": 5,
    "studies": ("rates", "range", "replay", "controls"),
    "study_seeds": 2,
    "epochs": 7,
    "precision": "bf16",
    "device": "cpu",
}


@pytest.mark.parametrize("name", [None, *ALL_CHANGED])
def test_settings_are_read_off_the_studies_that_were_made_of_them(name, tmp_path):
    settings = Settings(**ALL_CHANGED if name is None else {"studies": ALWAYS, name: ALL_CHANGED[name], "device": "cpu"})
    made = studies.studies(settings, "digits", settings.device)
    studies.save(studies.joined(made), tmp_path)  # as a report leaves them
    for each in (made, studies.load(tmp_path)):
        found = studies.asked(each)
        assert set(found) == set(ALL_CHANGED)
        assert Settings(**found) == settings
        assert studies.studies(Settings(**found), "digits", found["device"]) == made


def test_settings_of_a_report_with_other_studies_are_not_read():
    with pytest.raises(KeyError):
        studies.asked([CHAIN_STUDY])


def test_why_is_asked_on_the_digits_and_elsewhere_where_it_is_named():
    def asked(dataset: str, **fields) -> list[str]:
        return list(dict.fromkeys(each.notebook for each in studies.studies(Settings(**fields), dataset, "cpu")))

    always = ["learning_rate", "learning_rate_range", "replay"]
    assert asked("mnist") == always
    assert asked("digits") == [*always, "inside"]
    assert asked("mnist", studies="controls replay range rates inside") == [*always, "inside", "controls"]
    with pytest.raises(ValidationError, match="rests on rates, range, replay"):
        Settings(studies="inside")
    with pytest.raises(ValidationError, match="'outside' is no study; known: rates"):
        Settings(studies="rates range replay outside")


def test_studies_of_one_notebook_are_one_page_and_its_parameters_make_them():
    for dataset in ("digits", "mnist"):
        settings = Settings(studies=(*ALWAYS, *LATER), epochs=7)
        made = studies.by_page(studies.studies(settings, dataset, "cpu"))
        its = {page[0].notebook: page for page in made}
        sizes = {page[0].notebook: len(page) for page in made}
        assert (sizes["replay"], sizes["inside"], sizes["controls"]) == (1, 3, 4)
        assert {study.page for study in its["inside"]} == {"inside.html"}
        assert {study.stem for study in its["inside"]} == {"inside", "inside-long", "inside-survival"}
        for name, make in (("inside", studies.inside), ("controls", studies.controls)):
            given = studies.parameters(its[name])
            rates = {key: settings_of.rates(value) for key, value in given.items() if "rates" in key}
            wanted = inspect.signature(make).parameters
            values = {key: value for key, value in (given | rates).items() if key in wanted}
            values |= {"arms": settings_of.arms(given["arms"])} if "arms" in wanted else {}
            assert make(**values, **its[name][0].held) == its[name]


def test_what_is_wrong_with_a_study_of_several_is_said_in_its_notebook_s_words():
    sizes = {**SMALL["inside"], "long_epochs": 3, "arms": ("none", "batch"), "dataset": "digits"}
    with pytest.raises(UserError, match=r"^long_seeds=0: .*; set long_seeds = 3, say"):
        studies.inside(**sizes | {"long_seeds": 0})
    with pytest.raises(UserError, match=r"^arms='none batch group': names two norms here"):
        studies.inside(**sizes | {"arms": ("none", "batch", "group")})


def test_controls_differ_from_the_reference_in_one_factor_each():
    short, whole, *_ = studies.controls(**SMALL["controls"], long_epochs=3, dataset="digits")
    assert [arm.name for arm in short.arms] == [
        *("none", "batch", "group", "layer", "batch@1", "batch@2", "batch@3", "warmup 15", "leaky_relu"),
    ]
    reference, *others = short.arms
    for arm in others:
        assert sum(arm.levels[factor] != level for factor, level in reference.levels.items()) == 1
    assert [arm.name for arm in whole.arms] == ["none", "batch", "group", "layer", "warmup 15", "leaky_relu"]


def test_shorter_studies_never_have_more_seeds_than_the_long_one():
    assert [each.seeds for each in studies.studies(Settings(seeds=2, study_seeds=8), "mnist", "cpu")[-2:]] == [2, 2]


def test_notebook_shows_what_is_asked():
    shown = ask(held={"dataset": "mnist", "batch_size": 50})._repr_html_()
    for text in (
        "norm: none, batch; learning rate: 0.001, 0.01",
        "without batch norm",
        "dataset mnist; batch size 50",
        "0 to 1",
    ):
        assert text in shown
    assert "8 runs of 3 epochs" in shown


def test_missing_runs_of_a_chain_and_missing_epochs_are_said():
    chain = studies.replay(seeds=2, epochs=2, dataset="mnist")
    made = {(norm, rate): {s: [(0.1, 0.9)] * 2 for s in range(2)} for norm in ("none", "batch") for rate in CHAIN}
    whole = make_epochs(made, study="replay")
    assert chain.missing(whole) == []
    assert len(chain.missing(whole[whole.seed == 0])) == 6
    gone = chain.missing(whole[(whole.norm == "none") | (whole.seed == 0)])
    assert gone[0] == "with batch norm at learning rate 0.001: 1 of 2 runs"
    short = whole[(whole.epoch == 1) | (whole.norm == "batch")]
    assert [line.partition(" at ")[0] for line in chain.missing(short)] == ["without batch norm"] * 3
