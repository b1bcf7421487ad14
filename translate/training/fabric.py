"""What is used of Lightning Fabric.

It imports all of torchmetrics, with torchvision and SciPy, to ask for its version: a third of the time in which a
training begins. It is shown the version alone; what measures with torchmetrics imports it then. A release of it that
asks for more gets all of it.
"""

import sys
from contextlib import suppress
from importlib.metadata import version
from types import ModuleType

if "torchmetrics" not in sys.modules:
    sys.modules["torchmetrics"] = ModuleType("torchmetrics")
    sys.modules["torchmetrics"].__dict__["__version__"] = version("torchmetrics")
    with suppress(ImportError, AttributeError):
        import lightning_fabric.utilities.imports  # noqa: F401
    del sys.modules["torchmetrics"]

from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

__all__ = ["DDPStrategy", "Fabric"]
