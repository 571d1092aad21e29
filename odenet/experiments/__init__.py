"""One module for each chapter: a frozen ``Trial`` in, plain numbers out."""
