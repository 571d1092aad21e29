"""The book's figures: a module for each chapter that draws, and the style that they share.

Nothing is measured or fitted here: arrays come in, a matplotlib `Figure` goes out. The style is
made for transparent SVG on white and on dark pages: axes and text are mid-grey, colours are
colour-blind safe, and whatever a colour tells is also told by a marker or a line style.

An *estimate* is a mapping with `mean`, `low`, `high` and `values` (one value per seed); `low` and
`high` are None where there is no interval.
"""
