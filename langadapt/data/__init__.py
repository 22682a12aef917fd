"""Readers of the field's data: files fetched and pinned, tables, pairs, labelled and tagged texts, retrieval sets."""
