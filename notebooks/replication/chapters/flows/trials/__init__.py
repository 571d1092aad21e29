"""The experiments of chapter 06: in each module a frozen ``Trial`` in, plain numbers out."""
