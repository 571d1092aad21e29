"""The experiments of chapter 02: in each module a frozen ``Trial`` in, plain numbers out."""
