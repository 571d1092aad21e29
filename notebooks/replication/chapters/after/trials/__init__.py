"""The experiments of chapter 08: in each module a frozen ``Trial`` in, plain numbers out."""
