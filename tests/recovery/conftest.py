"""Daemons that can be armed with failure points, starved and killed, each on a data folder of its own."""
import tempfile
from pathlib import Path

import pytest
from site_kit import Site


@pytest.fixture
def make_site(programs, logs):
    """Makes a folder for a backend and a frontend; all ends with the case."""
    sites = []

    def make(**options):
        folder = Path(tempfile.mkdtemp(prefix="slrc-"))
        (folder / "config").mkdir()
        sites.append(Site(programs, folder, logs, **options))
        return sites[-1]
    yield make
    for site in sites:
        site.end()


@pytest.fixture
def site(make_site):
    made = make_site()
    made.start()
    return made
