"""Reads DICOM JSON: normalises every variant of a data set to a single form, so that readers need no other.

`normal_form` defines the form and quickly finds headers that are not in it; `normalising` converts those;
`representations` has the differences between the value representations of PS3.5; `sequences` decodes sequences from
bytes.
"""
