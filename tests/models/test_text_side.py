"""Networks of pictures and texts as open_clip publishes them, of random weights, beside open_clip's own answers."""

import json
import sys

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from clip_files import TEXTS, TIMM, published
from PIL import Image
from safetensors.torch import load_file, save_file

from pipeline.common.errors import BadInput
from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.heads.registry import HeadSpec
from pipeline.models.heads.text import Text
from pipeline.models.text_side import tell
from pipeline.models.weights import load_file as load_weights

SIDE = 32
CLASSES, TEMPLATES = ["Black_grouse", "002.Rock dove"], ("a photo of {name}.", "the bird {name}")
# timm's network for each, with what makes it that of the config.
KINDS = {
    "own": (
        {"image_size": SIDE, "layers": 6, "width": 64, "head_width": 32, "mlp_ratio": 3.0, "patch_size": 16,
         "norm_kwargs": {"eps": 1e-6}},
        {"pre_norm": True, "img_size": SIDE},
    ),
    "timm": ({**TIMM, "timm_pool": "", "timm_proj": "linear"}, {}),
    "timm, without a projection": ({**TIMM, "timm_pool": "avg", "timm_proj": "none"}, {"global_pool": "avg"}),
    "timm, its classifier": ({**TIMM, "timm_pool": "token", "timm_proj": ""}, {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One a kind, made when it is asked for."""
    made = {}

    def folder(kind):
        if kind not in made:
            custom = {"custom_text": True} if kind != "own" else {}
            made[kind] = published(tmp_path_factory.mktemp("clip"), KINDS[kind][0], **custom)
        return made[kind]

    return folder


def asked(file, options, side, templates=TEMPLATES, taxonomy=None, classes=CLASSES, mean=(0.5, 0.4, 0.3)):
    """A classifier of texts, filled from a published file."""
    how = Preprocessing(side, "crop", "bicubic", mean, (0.2, 0.25, 0.3))
    spec = NetworkSpec("timm/test_vit", len(classes), how, HeadSpec("text", {"templates": templates}), options)
    made = Classifier(spec).eval()
    load_weights(made.backbone, file, "timm/test_vit")
    tell(made.head, made, file, file.with_name, made.head.texts(classes, taxonomy), torch.device("cpu"))
    return made


def theirs(file, pictures):
    """(n, classes) probabilities by open_clip alone: its loading, preparation, tokens, texts and softmax."""
    name = f"local-dir:{file.parent}"
    both, prepare = open_clip.create_model_from_pretrained(name)
    names = ["Black grouse", "Rock dove"]
    with torch.no_grad():
        texts = open_clip.build_zero_shot_classifier(
            both.eval(), open_clip.get_tokenizer(name), names, [one.replace("{name}", "{}") for one in TEMPLATES]
        )
        seen = both.encode_image(torch.stack([prepare(one) for one in pictures]), normalize=True)
        return (both.logit_scale.exp() * seen @ texts).softmax(1)


def check_same_answers(file, options, side):
    network = asked(file, options, side)
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    with torch.no_grad():
        mine = network(Inputs(torch.from_numpy(pixels).permute(0, 3, 1, 2))).softmax(1)
    expected = theirs(file, [Image.fromarray(one) for one in pixels])
    assert mine.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert mine.std(0).min() > 1e-4  # not one answer to all


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_open_clip_does(folders, kind):
    check_same_answers(folders(kind), KINDS[kind][1], KINDS[kind][0]["image_size"])


def test_a_network_with_a_tokenizer_of_its_own_does_too(tmp_path):
    """As SigLIP 2 has one, and a bias that no answer hangs on."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    words = ["<pad>", "<eos>", "<unk>", "a", "photo", "of", "the", "bird", "black", "grouse", "rock", "dove"]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: place for place, word in enumerate(words)}, "<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    named = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **named).save_pretrained(tmp_path)
    texts = {
        **TEXTS, "vocab_size": 12, "hf_tokenizer_name": "museum/shells", "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
    }  # fmt: skip
    vision, options = KINDS["timm, without a projection"]
    file = published(tmp_path, vision, custom_text=True, text_cfg=texts, init_logit_bias=-10)
    check_same_answers(file, options, vision["image_size"])
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(BadInput, match=r"head=text: \S+tokenizer.json is missing: put the one of"):
        asked(file, options, vision["image_size"])


def test_what_it_learned_of_texts_is_in_its_state_alone(folders, monkeypatch):
    file, options = folders("own"), KINDS["own"][1]
    taught = asked(file, options, SIDE)
    monkeypatch.setitem(sys.modules, "open_clip", None)  # as where it is not installed
    served = Classifier(taught.spec)
    served.load_state_dict(taught.state_dict())
    pixels = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(served.eval()(Inputs(pixels)), taught(Inputs(pixels)))


@pytest.mark.parametrize(
    ("templates", "known", "said"),
    [
        (("{name}",), None, [["Black grouse"], ["Rock dove"]]),
        (("{taxon}", "the {common_name}"), True, [["Aves Lyrurus tetrix", "the black cock"], ["Aves Columba"]]),
        (("a {genus}", "{name}"), True, [["a Lyrurus", "Black grouse"], ["a Columba", "Rock dove"]]),
    ],
)  # fmt: skip
def test_texts_say_what_is_known(templates, known, said):
    ranks = {"class": ["Aves", "Aves"], "genus": ["Lyrurus", "Columba"], "species": ["Lyrurus tetrix", None]}
    taxonomy = pd.DataFrame({**ranks, "common_name": ["black cock", None]}, index=CLASSES) if known else None
    assert Text(4, 2, templates).texts(CLASSES, taxonomy) == said


@pytest.mark.parametrize(
    ("templates", "known", "said"),
    [
        (["a bird"], None, "'a bird' says the same of every class: it needs a {name}"),
        (["{nam}"], None, "there is no {nam}; did you mean name"),
        (["{name"], None, "'{name' is no template"),
        (["{name:{genus}}"], None, r"'{name:{genus}}' is no template \(in braces stands a name alone, as in \{name\}"),
        (["{name!x}"], None, "'{name!x}' is no template"),
        (["{genus}"], None, "'{genus}' needs a taxonomy: name one with data.taxonomy=FILE"),
        (["{genus}"], {"genus": ["Lyrurus", None]}, r"knows too little of 002.Rock dove .* add one with \{name\}"),
    ],
)
def test_templates_that_say_nothing_are_refused(templates, known, said):
    with pytest.raises(BadInput, match=r"head\.templates: .*" + said):
        Text(4, 2, templates).texts(CLASSES, known and pd.DataFrame(known, index=CLASSES))


def test_files_that_cannot_be_asked_are_named(folders, tmp_path):
    (vision, options), state = KINDS["own"], load_file(folders("own"))

    def refuse(left_out, said, config):
        file = published(tmp_path, vision)
        file.with_name("open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
        save_file({name: tensor for name, tensor in state.items() if not name.startswith(left_out)}, file)
        with pytest.raises(BadInput, match="head=text: .*" + said):
            asked(file, options, SIDE)

    whole = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": TEXTS}
    refuse(("transformer", "token", "positional", "text", "ln_"), "has no text side: take weights of open_clip", whole)
    refuse("transformer.", r"cannot read \S+ by its open_clip_config.json \(.*Missing", whole)
    refuse("-", r"has to say how .* both sides \(embed_dim, text_cfg", {"vision_cfg": vision})
    refuse("-", "timm/test_vit sees pictures otherwise than", {**whole, "quick_gelu": True})
