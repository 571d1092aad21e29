"""What Jupyter Book has no setting for: no other host is asked, and buttons find the notebooks."""

import shutil
from importlib.util import find_spec
from pathlib import Path

FONTS = "output/chtml/fonts/woff-v2"


def copy_mathjax(app, error):
    """MathJax and its fonts lie in the site, so that no page asks another host for them."""
    if error is None:
        package = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax"
        site = Path(app.outdir, "_static/mathjax")
        shutil.copytree(package / FONTS, site / FONTS, dirs_exist_ok=True)
        shutil.copy(package / "tex-chtml-full.js", site)


def remove_thebe(app, config):
    """The theme's live-code tool takes no part: it would load scripts from elsewhere."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)
    app.registry.css_files[:] = [c for c in app.registry.css_files if c[0] != "sphinx-thebe.css"]


def point_to_source(app, pagename, templatename, context, doctree):
    """Buttons that open a chapter elsewhere open the notebook it was executed from."""

    def mend(buttons):
        for button in buttons:
            if "url" in button:
                button["url"] = button["url"].replace("book/chapters/", "notebooks/")
            mend(button.get("buttons", []))

    mend(context.get("header_buttons", []))


def setup(app):
    app.connect("config-inited", remove_thebe, priority=0)
    app.connect("html-page-context", point_to_source, priority=900)  # the theme adds its own at 501
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
