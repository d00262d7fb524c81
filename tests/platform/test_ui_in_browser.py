"""Task 17 says that the UI works; this looks at the page as a user does, in Debian's Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.support.browser import chromium, text_with
from tests.support.live_platform import Platform


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


def test_the_deployments_page_shows_the_deployment_and_its_schedule(
    platform: Platform, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    browser.get(f"{platform.server_url}/deployments")
    text_with(browser, "Deployments", "production-etl", "Enterprise Data Pipeline", "At 09:00 AM")
    browser.save_screenshot(str(tmp_path / "deployments.png"))


def test_the_deployments_own_page_shows_its_next_run_at_nine_and_its_last_runs(
    platform: Platform, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    browser.get(f"{platform.server_url}/deployments/deployment/{platform.deployment()['id']}")
    text_with(browser, "production-etl", "At 09:00 AM", "09:00:00 AM", "Ready", platform.run_of(24)["name"])
    browser.save_screenshot(str(tmp_path / "deployment.png"))
