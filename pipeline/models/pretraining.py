"""What the weights that a run began with may have seen before, as far as the shelf of networks knows."""

import re
from collections.abc import Iterable, Mapping

from pipeline.models.shelf import OnShelf, on_shelf, shelf

# Pictures of the test set of a source that are known to be in ImageNet's training set.
_KNOWN = {"cub200": "22 to 23 test pictures of CUB-200-2011 were found in ImageNet's training set"}


def networks_of(params: Mapping[str, str]) -> list[OnShelf]:
    """The networks of the shelf whose published weights a run began with, by its parameters."""
    if params.get("regime.weights") == "none":
        return []
    joined = re.findall(r"'([^']+)'", params.get("model.join", ""))
    if joined:
        own = params.get("model.join_weights", "")
        return [one for one in shelf() if one.answer in joined and f"'{one.answer}'" not in own]
    if params.get("model.weights_file", "None") not in ("None", ""):
        return []
    found = on_shelf(params.get("model.name", ""), params.get("model.weights", "DEFAULT"))
    return [] if found is None else [found]


def known_overlap(source: str) -> str:
    """A sentence on which pictures of a source's test set ImageNet is known to hold; "" where nothing is known."""
    return f"{_KNOWN[source]}." if source in _KNOWN else ""


def pretraining(trainings: Iterable[Mapping[str, str]]) -> list[str]:
    """A sentence a network, from the parameters of trainings, and what follows for the figures on test."""
    lines: dict[str, None] = {}
    seen, source = False, ""
    for params in trainings:
        source = params.get("data.source", source)
        networks = networks_of(params)
        for one in networks:
            seen |= not one.said.get("seen ImageNet", "unknown").startswith("no")
            lines[
                f"`{one.name}` ({one.said.get('source', one.weights)}): seen ImageNet: "
                f"{one.said.get('seen ImageNet', 'unknown')}; seen iNaturalist: "
                f"{one.said.get('seen iNaturalist', 'unknown')}; licence: {one.said.get('licence', 'unknown')}"
            ] = None
        if not networks:
            lines[_elsewhere(params)] = None
            seen |= params.get("regime.weights") != "none"
    if not seen:
        return list(lines)
    known = f" {known_overlap(source)}".rstrip()
    return [
        *lines,
        "Pictures of public sets are often among those that such weights were trained on (ImageNet's came from the "
        "same sites): where test pictures are, the figures above are too good for pictures that nobody has "
        f"seen.{known} Whether a test picture was among them was not checked here.",
    ]


def _elsewhere(params: Mapping[str, str]) -> str:
    network = params.get("model.name", "the network")
    if params.get("regime.weights") == "none":
        return f"`{network}` began with random weights: it has seen the training pictures alone."
    file = params.get("model.weights_file", "None")
    where = (
        f"`{file.rpartition('/')[2]}`" if file not in ("None", "") else f"{params.get('model.weights', 'a library')}"
    )
    return f"`{network}`: what its weights ({where}) were trained on is not known here."
