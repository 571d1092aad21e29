"""The experiments of chapter 03: in each module a frozen ``Trial`` in, plain numbers out."""
