"""What Jupyter Book has no setting for: offline pages, buttons that find notebooks, an origin."""

import inspect
import shutil
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
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


def mend_buttons(app, pagename, templatename, context, doctree):
    """Buttons that open a chapter elsewhere open the notebook it was executed from.

    Colab's leads to the page that says what a notebook needs there, if one does.
    """

    def mend(buttons):
        for button in buttons:
            if "url" in button:
                button["url"] = button["url"].replace("book/chapters/", "notebooks/")
            mend(button.get("buttons", []))
            if button.get("label") == "launch-buttons":
                button["buttons"] += colab(app, context)

    mend(context.get("header_buttons", []))


def colab(app, context):
    page, place = app.env.domains["std"].anonlabels.get("colab", (None, None))
    look = {"text": "Colab", "icon": "_static/images/logo_colab.png", "tooltip": "How to, in Colab"}
    url = page and f"{context['pathto'](page)}#{place}"
    return [{"type": "link", "url": url, **look}] if page else []


def link_sources(app, config):
    """Names on the page of the API lead to their source: on GitHub, or else in the site."""
    clone = config.html_context["clone"]

    def resolve(domain, info):
        path, first, last = source_of(info["module"], info["fullname"])
        if path is None:
            return None
        if clone["address"]:
            there = f"{clone['address']}/blob/{clone['commit'] or clone['branch']}"
            return f"{there}/{path.as_posix()}#L{first}-L{last}"
        return f"_static/source/{path.as_posix()}.txt"

    config.linkcode_resolve = resolve


def source_of(module, name):
    """The file, from the root of the clone, and the first and last line of what has this name."""
    root = Path(find_spec("odenet").origin).parents[1]
    try:
        found = attrgetter(name)(import_module(module))
        found = inspect.unwrap(getattr(found, "fget", found))
        lines, first = inspect.getsourcelines(found)
        path = Path(inspect.getsourcefile(found)).relative_to(root)
    except (AttributeError, OSError, TypeError, ValueError):  # data, or what is written in C
        return None, 0, 0
    return path, first, first + len(lines) - 1


def copy_sources(app, error):
    """The sources lie in the site where no repository on the web has them."""
    if error is None and not app.config.html_context["clone"]["address"]:
        root = Path(find_spec("odenet").origin).parents[1]
        for folder in ("odenet", "notebooks/replication"):
            for path in (root / folder).rglob("*.py"):
                copy = Path(app.outdir, "_static/source", f"{path.relative_to(root)}.txt")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)


def state_origin(app, pagename, templatename, context, doctree):
    """Each page carries version, commit and date of its making for machines to read."""
    known = {name: context["clone"][name] for name in ("version", "commit", "date")}
    if context["clone"]["changed"]:
        known["commit"] += " with changes"
    tags = (f'<meta name="{name}" content="{value}" />' for name, value in known.items() if value)
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def drop_list_roles(app, pagename, templatename, context, doctree):
    """The list of references is read as paragraphs: docutils gives it roles that do not fit."""
    if "body" in context:
        for role in (' role="doc-biblioentry"', ' role="list"'):
            context["body"] = context["body"].replace(role, "")


def setup(app):
    app.connect("config-inited", remove_thebe, priority=0)
    app.connect("config-inited", link_sources)
    app.connect("html-page-context", mend_buttons, priority=900)  # the theme adds its own at 501
    app.connect("html-page-context", state_origin)
    app.connect("html-page-context", drop_list_roles)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", copy_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
