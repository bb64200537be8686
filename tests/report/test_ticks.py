"""What checks say, as a page shows it."""

from partialpool.report.page import ticked


def test_what_stands_between_ticks_is_code_and_all_else_is_text():
    assert ticked("`family: binomial` fits <b>") == "<code>family: binomial</code> fits &lt;b&gt;"
    assert ticked("one ` alone") == "one ` alone"
