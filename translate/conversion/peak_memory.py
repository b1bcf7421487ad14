"""How much memory a network needs for an image, found without computing anything."""

import copy
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(network: nn.Module, *inputs: Sequence[int] | None) -> int:
    """The most bytes of features alive at a time while `network` is run on float32 inputs of these shapes;
    None is an input that is not there.

    What libraries use inside an operation comes on top.
    """
    meta = {
        id(tensor): nn.Parameter(torch.empty_like(tensor, device="meta"), requires_grad=False)
        for tensor in (*network.parameters(), *network.buffers())
    }
    sketch = copy.deepcopy(network, meta)
    with torch.inference_mode(), _Tracked() as tracked:
        sketch(*(None if shape is None else torch.empty(*shape, device="meta") for shape in inputs))
    return int(tracked.most)


class _Tracked(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of all tensors made inside that are still referred to."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.users: Counter[int] = Counter()
        self.bytes = self.most = 0

    def __torch_dispatch__(
        self, function: Callable[..., Any], _: Any, arguments: Sequence[Any] = (), options: dict[str, Any] | None = None
    ) -> Any:
        output = function(*arguments, **(options or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if not self.users[storage._cdata]:
                    self.bytes += storage.nbytes()
                    self.most = max(self.most, self.bytes)
                self.users[storage._cdata] += 1
                weakref.finalize(tensor, self._release, storage._cdata, storage.nbytes())
        return output

    def _release(self, storage: int, size: int) -> None:
        self.users[storage] -= 1
        if not self.users[storage]:
            self.bytes -= size
