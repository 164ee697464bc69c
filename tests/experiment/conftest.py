import pytest
import torch


@pytest.fixture(scope="package")
def weights(tmp_path_factory):
    """The override that names weights of a squeezenet, left to chance."""
    from torchvision.models import squeezenet1_0

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(squeezenet1_0().state_dict(), file)
    return f"model.weights_file={file}"
