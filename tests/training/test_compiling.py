"""What is compiled is decided by the work alone."""

from functools import partial

import pytest
import torch
from harness_clipnet.tower import OPENAI_TOWERS, build_tower, pooled

from harness.training import compiled, compiling_pays, forward_operations


def test_operations_are_those_of_the_published_tower():
    import transformers

    shape = transformers.CLIPVisionConfig(**OPENAI_TOWERS["openai/clip-vit-large-patch14-336"])
    with torch.device("meta"):
        tower = build_tower(shape)
        found = forward_operations(lambda pixels: pooled(tower, pixels), torch.empty(2, 3, 336, 336))
    assert found == pytest.approx(382e9, rel=0.02)


@pytest.mark.parametrize(
    ("wanted", "device", "work", "expected"),
    [
        ("always", "cpu", 0.0, True),
        ("never", "cuda", 1e30, False),
        ("auto", "cpu", 1e30, False),
        ("auto", "cuda", 69e15, False),
        ("auto", "cuda:1", 71e15, True),
    ],
)
def test_it_pays_on_a_gpu_with_long_work(monkeypatch, wanted, device, work, expected):
    monkeypatch.setattr("harness.training.compiling.find_spec", lambda name: object())
    assert compiling_pays(wanted, device, work, training=False) is expected
    assert compiling_pays(wanted, device, 41e15 / 71e15 * work, training=True) is expected


def test_without_a_compiler_for_gpus_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr("harness.training.compiling.find_spec", lambda name: None)
    assert not compiling_pays("auto", "cuda", 1e30, training=True)


def test_a_backward_pass_that_cannot_be_compiled_is_told(monkeypatch, capsys):
    from torch._dynamo.backends.common import aot_autograd

    def refuse(graph, examples):
        raise RuntimeError("no kernel for this")

    backend = aot_autograd(fw_compiler=lambda graph, examples: graph, bw_compiler=refuse)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    weight = torch.ones(3, requires_grad=True)
    run = compiled(lambda batch: (batch * weight).sin(), "auto", "clipnet.compile")
    run(torch.ones(2, 3)).sum().backward()
    assert weight.grad is not None
    assert "no kernel for this" in capsys.readouterr().err


def test_what_is_wrong_with_the_model_is_not_the_compilers(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        compiled(lambda batch: batch @ torch.ones(5, 2), "always", "clipnet.compile")(torch.ones(2, 3))


def test_too_little_memory_is_not_taken_for_a_broken_compiler(monkeypatch):
    def full(batch):
        raise torch.cuda.OutOfMemoryError("no room")

    monkeypatch.setattr(torch, "compile", lambda forward, dynamic: full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        compiled(lambda batch: batch, "auto", "clipnet.compile")(torch.zeros(1))
