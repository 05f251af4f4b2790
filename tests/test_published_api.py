"""Every public attribute of the reference's classes that exist here is here too, or left out with a reason."""

import inspect

import pytest

import published_api
from published_api import ABSENT_FEATURES, LEFT_OUT, REFERENCE, counted, feature_of, has, our_class, our_object

SCHEDULERS = [name for name in REFERENCE if name.endswith("Scheduler")]


@pytest.mark.parametrize("cls", REFERENCE)
def test_each_public_attribute_is_here_or_left_out_with_a_reason(cls):
    owner, left_out = our_object(cls), LEFT_OUT.get(cls, {})
    missing = [name for name in counted(cls) if not has(owner, name) and name not in left_out]
    assert not missing, f"{cls} lacks {missing}; add them, or say why not in tests/published_api.py"
    stale = [name for name in left_out if name not in counted(cls) or has(owner, name)]
    assert not stale, f"{cls} has {stale}, or the reference has not: take them out of LEFT_OUT"


@pytest.mark.parametrize("cls", REFERENCE)
def test_attributes_are_of_the_references_kind(cls):
    owner = our_object(cls)
    for name, kind in counted(cls).items():
        if hasattr(owner, name):
            defined = inspect.getattr_static(owner, name)
            called = isinstance(defined, (classmethod, staticmethod)) or callable(defined)
            assert ("method" if called else "value") == kind, f"{cls}.{name} is a {kind} in the reference"


def test_of_what_exists_here_at_least_95_of_100_attributes_are_present():
    numbers = {cls: (len(counted(cls)), len(LEFT_OUT.get(cls, {}))) for cls in REFERENCE}
    total, missing = (sum(pair[i] for pair in numbers.values()) for i in (0, 1))
    assert total - missing >= 0.95 * total
    schedulers = [numbers[cls] for cls in SCHEDULERS]
    assert sum(left for _, left in schedulers) <= 0.05 * sum(count for count, _ in schedulers)


def test_a_feature_that_is_not_here_is_not_half_here():
    for cls in REFERENCE:
        owner = our_object(cls)
        there = [name for name in REFERENCE[cls]["attributes"] if feature_of(cls, name) and has(owner, name)]
        assert not there, f"{cls} has {there}: take them out of ABSENT_FEATURES"
    names = {name for cls in REFERENCE.values() for name in cls["attributes"]}
    for feature, (_, attributes) in ABSENT_FEATURES.items():
        assert attributes <= names, feature


@pytest.mark.parametrize("cls", SCHEDULERS)
def test_step_takes_the_references_arguments_in_its_order(cls):
    parameters = [
        name
        for name, parameter in inspect.signature(our_class(cls).step).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    assert parameters[1:] == REFERENCE[cls]["step"]


def test_the_page_of_differences_is_up_to_date():
    page = published_api.PAGE.read_text(encoding="utf-8")
    assert page == published_api.page(), "run python tests/published_api.py"


@pytest.mark.oracle
def test_the_list_is_the_references():
    from golden.make_published_api import collect

    assert collect() == REFERENCE
