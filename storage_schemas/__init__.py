"""What is stored, described once: columns, tables, vocabularies, manifests.

Belongs here: names, types, units and meanings of everything the platform writes.
Does not belong here: reading, writing or computing anything. Imports pyarrow and
the standard library only.
"""
