import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

torch.set_num_threads(1)  # the tests' networks are so small that threads only wait for each other


@pytest.fixture(scope="module")
def browser():
    from chromium import BROWSER, FLAGS
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield chromium
        chromium.close()
