"""One module a model family: vocabulary, encoding of cells, and the layers its attention is read from."""
