"""Manifests as data sets: for PyTorch, MONAI and Hugging Face, from a download folder or straight from the bucket.

`loadable` has the methods of a manifest; `records` what an item has; `reading` and `streaming` read from buckets, and
know nothing of PyTorch. Libraries of models are imported only by the method that was asked for. Reading pixels belongs
in warehouse/dicom/pixels.py.
"""
