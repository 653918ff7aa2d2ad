-- Where the indexes of DICOMweb are: in memory, compressed; DuckDB spills what does not fit.
attach if not exists ':memory:' as dicomweb (compress); -- noqa: PRS
