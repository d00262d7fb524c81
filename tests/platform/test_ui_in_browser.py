"""Task 17 says that the UI works; this looks at the page as a user does, in Debian's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.live_platform import Platform

_RENDER_SECONDS = 60
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,900"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-quic", "--disable-default-apps", "--disable-extensions", "--proxy-server=direct://"),
)


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("Chromium is not installed (apt-get install chromium chromium-driver)")
    for variable in ("http_proxy", "https_proxy", "all_proxy"):  # the driver is on this machine
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    env = os.environ | {"TZ": "America/Chicago"}  # a user in the schedule's zone
    service = webdriver.ChromeService(executable_path=driver, log_output=str(tmp_path / "chromedriver.log"), env=env)
    found = webdriver.Chrome(options=options, service=service)
    try:
        yield found
    finally:
        found.quit()


def _text_with(browser: webdriver.Chrome, *parts: str) -> str:
    """The page's text as soon as it shows all of these."""

    def shown(browser: webdriver.Chrome) -> str | None:
        text = browser.find_element(By.TAG_NAME, "body").text
        return text if all(part in text for part in parts) else None

    waiting = WebDriverWait(browser, _RENDER_SECONDS, ignored_exceptions=[StaleElementReferenceException])
    found = waiting.until(shown, f"the page never showed {parts}")
    assert isinstance(found, str)
    return found


def test_the_deployments_page_shows_the_deployment_and_its_schedule(
    platform: Platform, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    browser.get(f"{platform.server_url}/deployments")
    _text_with(browser, "Deployments", "production-etl", "Enterprise Data Pipeline", "At 09:00 AM")
    browser.save_screenshot(str(tmp_path / "deployments.png"))


def test_the_deployments_own_page_shows_its_next_run_at_nine_and_its_last_runs(
    platform: Platform, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    browser.get(f"{platform.server_url}/deployments/deployment/{platform.deployment()['id']}")
    _text_with(browser, "production-etl", "At 09:00 AM", "09:00:00 AM", "Ready", platform.run_of(24)["name"])
    browser.save_screenshot(str(tmp_path / "deployment.png"))
