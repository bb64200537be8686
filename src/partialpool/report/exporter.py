"""Pages of notebooks, by nbconvert: ``jupyter nbconvert --to partialpool notebook.ipynb``."""

from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2.runtime import Context
from markupsafe import Markup
from nbconvert import HTMLExporter, TemplateExporter
from nbformat import from_dict
from traitlets import default
from traitlets.config import Config

from partialpool.report import drawings, markup, page


class PageExporter(HTMLExporter):
    """A notebook becomes one HTML file; with the summary of a run, the page of that run.

    The summary, the content of ``summary.json``, is expected in ``resources["run"]``.
    """

    export_from_notebook = "partialpool page"

    @default("template_name")
    def _template_name_default(self) -> str:
        return "partialpool"

    @default("extra_template_basedirs")
    def _default_extra_template_basedirs(self) -> list[str]:
        return [str(page.TEMPLATES)]

    @default("extra_template_paths")
    def _default_extra_template_paths(self) -> list[str]:
        return [str(page.TEMPLATES)]

    @property
    def default_config(self) -> Config:
        """What a page shows, of all that a cell may display, and cells that it leaves out."""
        config = Config(super().default_config)
        config.NbConvertBase.display_data_priority = [
            *("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg"),
            *("text/latex", "text/plain"),
        ]
        config.CoalesceStreamsPreprocessor.enabled = True
        config.TagRemovePreprocessor.remove_cell_tags = {"remove-cell", "hide"}
        config.TagRemovePreprocessor.remove_all_outputs_tags = {"remove-output"}
        return config

    def default_filters(self) -> Any:
        """Filters of the template; some take the place of nbconvert's own of that name."""
        yield from super().default_filters()
        yield "ansi2html", markup.terminal
        yield "clean_html", markup.sanitize
        yield "figure", figure
        yield "highlight_code", highlight_code
        yield "output_markdown", output_markdown

    @jinja2.pass_context
    def markdown2html(self, context: Context, source: str) -> Markup:
        """Convert the Markdown of a cell."""
        return markup.markdown(
            source,
            context["resources"]["outline"],
            trusted=True,
            attachments=context["cell"].get("attachments"),
            folder=context["resources"]["metadata"]["path"],
        )

    def from_notebook_node(  # type: ignore[override]
        self, nb: Any, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert a notebook."""
        # HTMLExporter would read the page with a lenient parser and write it anew
        return TemplateExporter.from_notebook_node(self, nb, resources, **kw)

    def _init_resources(self, resources: Any) -> Any:
        resources = super()._init_resources(resources)
        run = resources["run"] = resources.get("run")
        story = resources["story"] = resources.get("story") or {}
        outline = resources["outline"] = markup.Outline()
        # what a study file says is text, whoever wrote it
        resources["about"] = markup.markdown(story.get("about", ""), outline, trusted=False)
        resources["method"] = markup.markdown(resources.get("method") or "", outline, trusted=True)
        resources["broken"] = run["error"]["cell"] if run and run["error"] else None
        return resources

    def _create_environment(self) -> jinja2.Environment:
        return page.prepared(super()._create_environment())


@jinja2.pass_context
def output_markdown(context: Context, source: str) -> Markup:
    """Convert Markdown that a cell displayed."""
    return markup.markdown(source, context["resources"]["outline"], trusted=False)


@jinja2.pass_context
def highlight_code(context: Context, source: str) -> Markup:
    """Highlight the code of a cell in the notebook's language."""
    language = context["nb"].metadata.get("language_info", {}).get("name", "python")
    return markup.code(source, language)


@jinja2.pass_context
def figure(context: Context, output: Any, mime: str) -> Markup:
    """Prepare a picture that a cell displayed."""
    alt = drawings.alt_text(output, mime)
    if mime != "image/svg+xml":
        return drawings.image(output.data[mime], mime, alt)
    resources = context["resources"]
    resources["figures"] = (resources["figures"] or 0) + 1
    return drawings.inline_svg(output.data[mime], alt, f"f{resources['figures']}-")


def render(
    notebook: Any,
    summary: dict[str, Any],
    folder: str = "",
    story: Mapping[str, str] | None = None,
) -> str:
    """Make the page of a run.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        As executed.
    summary : dict
        The content of ``summary.json``.
    folder : str
        Where image files named in Markdown are sought.
    story : mapping, optional
        ``title``, ``question`` and ``about`` of the study, as far as it has them.

    Returns
    -------
    str
        A complete HTML document.
    """
    resources = {"run": summary, "story": dict(story or {}), "metadata": {"path": folder}}
    first = notebook.cells[0] if notebook.cells else None
    if "about" in resources["story"] and first is not None and first.cell_type == "markdown":
        # the study's words take the place of the notebook's, which stand among the method
        notebook = from_dict({**notebook, "cells": notebook.cells[1:]})
        resources["method"] = first.source
    return PageExporter().from_notebook_node(notebook, resources)[0]


def title(notebook: Any) -> str | None:
    """Find the title of a notebook: its first heading of level one."""
    outline = markup.Outline()
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and outline.title is None:
            markup.markdown(cell.source, outline, trusted=True, attachments=cell.get("attachments"))
    return outline.title
