"""Take the pictures of the README from finished reports: ``make pictures``."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
#: Picture -> page, and the headings between which it is cut out; from the top where there is none.
PICTURES = {
    "report": ("sleepstudy/method-nutpie_seed-1/report.html", None, "The model"),
    "recovery": ("recovery/index.html", "Root mean squared error", "Width of 95 % intervals"),
}
#: Width of the window; a study's page is narrow, for it has nothing but figures there.
WIDTH = {"report": 1200, "recovery": 880}


def main() -> int:
    """Write docs/<picture>.png; say what is missing."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        print("Pictures need Chromium on the path.", file=sys.stderr)
        return 1
    (ROOT / "docs").mkdir(exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        for name, (place, first, last) in PICTURES.items():
            report = ROOT / "reports" / place
            if not report.exists():
                print(f"There is no {report.relative_to(ROOT)}; say make report first.")
                return 1
            page.set_viewport_size({"width": WIDTH[name], "height": 900})
            page.goto(report.as_uri())
            start, end = (
                0
                if heading is None
                else page.locator("h2", has_text=heading).first.bounding_box()["y"] - 15
                for heading in (first, last)
            )
            page.screenshot(
                path=ROOT / "docs" / f"{name}.png",
                clip={"x": 0, "y": start, "width": WIDTH[name], "height": end - start},
                full_page=True,
            )
            print(f"docs/{name}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
