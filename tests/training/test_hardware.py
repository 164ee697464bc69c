import json
from itertools import count

import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.training import hardware
from pipeline.training.hardware import choose_precision, make_fabric, resolved


@pytest.fixture(autouse=True)
def remembered(tmp_path, monkeypatch):
    """Where the machine's answer is kept: nothing yet."""
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bf16.json"


def clock(*durations):
    """Time passes by these durations in turn, each between two looks at the clock."""
    now, looks = 0.0, count()

    def look():
        nonlocal now
        number = next(looks)
        if number % 2:
            now += durations[number // 2 % len(durations)]
        return now

    return look


@pytest.mark.parametrize(("fp32", "bf16", "chosen"), [(1.0, 2.0, "fp32"), (1.1, 1.0, "fp32"), (1.3, 1.0, "bf16")])
def test_a_processor_that_has_bf16_gets_it_where_it_is_clearly_faster(monkeypatch, fp32, bf16, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(hardware, "perf_counter", clock(fp32, bf16))
    assert choose_precision("cpu") == chosen


def test_one_busy_moment_does_not_decide(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(hardware, "perf_counter", clock(4.0, 9.0, 4.0, 1.0))
    assert choose_precision("cpu") == "bf16"


def test_a_machine_is_tried_once_for_each_number_of_threads(monkeypatch, remembered):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "cpu_name": "one"})
    tried = iter([1.3, 1.0, 1.1])
    monkeypatch.setattr(hardware, "_times_faster", lambda: next(tried))
    assert [choose_precision("cpu") for _ in range(3)] == ["bf16"] * 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert [choose_precision("cpu") for _ in range(3)] == ["fp32"] * 3
    remembered.write_text('{"one')  # cut short
    assert choose_precision("cpu") == "fp32"
    assert len(json.loads(remembered.read_text())) == 1


def test_what_cannot_be_remembered_is_tried_again(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(hardware, "_times_faster", lambda: 2.0)
    assert choose_precision("cpu") == "bf16"


def test_a_processor_without_bf16_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert choose_precision("cpu") == "fp32"


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_a_precision_that_was_asked_for_is_what_one_gets(asked):
    fabric = make_fabric("cpu", asked)
    assert resolved(fabric)["precision"] == asked
    module = fabric.setup_module(torch.nn.Linear(2, 2))
    with fabric.autocast():
        assert module.module(torch.ones(1, 2)).dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[asked]


def test_half_precision_on_a_processor_is_refused():
    with pytest.raises(BadInput, match="fp16 needs a GPU"):
        make_fabric("cpu", "fp16")


def test_numbers_too_small_to_matter_cost_no_time_as_they_are_zero():
    make_fabric("cpu")
    assert not (torch.full((4,), 1e-30) * 1e-10).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_taken_where_there_is_one_and_named():
    found = resolved(make_fabric())
    assert (found["device"], found["device_name"]) == ("cuda", torch.cuda.get_device_name())
    assert found["precision"] == choose_precision("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_fp32_has_all_its_digits_and_gradients_come_out_the_same_again():
    torch.manual_seed(0)
    layer, maps = torch.nn.Conv2d(64, 64, 3), torch.randn(16, 64, 32, 32)
    expected = layer(maps).detach()
    fabric = make_fabric("cuda", "fp32")
    layer, maps, gradients = fabric.to_device(layer), maps.to(fabric.device), []
    for _ in range(5):
        layer.zero_grad()
        found = layer(maps)
        found.square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    assert (found.detach().cpu() - expected).norm() < 1e-4 * expected.norm()  # TF32 is some 3e-4 away
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
