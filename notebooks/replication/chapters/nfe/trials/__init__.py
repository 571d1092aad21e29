"""The experiments of chapter 04: in each module a frozen ``Trial`` in, plain numbers out."""
