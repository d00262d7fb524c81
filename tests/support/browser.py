"""Debian's Chromium, driven as a person drives it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

_RENDER_SECONDS = 60
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,900"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-quic", "--disable-default-apps", "--disable-extensions", "--proxy-server=direct://"),
)


@contextlib.contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[webdriver.Chrome]:
    """Run a browser with a new profile in the folder; skip the test if there is none on this machine."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("Chromium is not installed (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, *flags, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    env = os.environ | {"TZ": "America/Chicago"}  # a user in the schedule's zone
    service = webdriver.ChromeService(executable_path=driver, log_output=str(folder / "chromedriver.log"), env=env)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("http_proxy", "https_proxy", "all_proxy"):  # the driver is on this machine
            patch.delenv(variable, raising=False)
            patch.delenv(variable.upper(), raising=False)
        browser = webdriver.Chrome(options=options, service=service)
        try:
            yield browser
        finally:
            browser.quit()


def text_with(browser: webdriver.Chrome, *parts: str) -> str:
    """Return the page's text as soon as it shows all of these."""

    def shown(browser: webdriver.Chrome) -> str | None:
        text = browser.find_element(By.TAG_NAME, "body").text
        return text if all(part in text for part in parts) else None

    waiting = WebDriverWait(browser, _RENDER_SECONDS, ignored_exceptions=[StaleElementReferenceException])
    found = waiting.until(shown, f"the page never showed {parts}")
    assert isinstance(found, str)
    return found
